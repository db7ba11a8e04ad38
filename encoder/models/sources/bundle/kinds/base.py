"""What a kind of part is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder.models.sources.bundle.parts import Part

if TYPE_CHECKING:
    from encoder.models.precision import Network, Precision
    from encoder.models.sparsity import Sparsity


@dataclass(frozen=True)
class Opening:
    """What a part is opened with.

    Args:
        part: the part itself.
        folder: of the part.
        precision: of its network.
        sparsity: of a text network; None for none.
        n_threads: of one network; None for every core.
        other: gives another part of the bundle by its name, opened on first use.
    """

    part: Part
    folder: Path
    precision: Precision
    sparsity: Sparsity | None
    n_threads: int | None
    other: Callable[[str], Any]


@dataclass(frozen=True)
class Kind:
    """A kind of part.

    A function that serving must not import is named as ``module:function``.

    Args:
        open: gives a tower, or whatever else the part is for.
        prepare: takes the unpacked folder and adds what serving needs; empty if nothing is needed.
        makes_vectors: whether a vector depends on it; if not, it is not part of the space's
            identity.
        network: the files of its network in a folder; None if it has no network.
        int8_identity: what changes vectors in its int8 network.
        asks: whether its tower has a second one, ``query``, for queries.
        later: what is kept elsewhere and would be made on first use, by name; ``anymodal bundle
            fetch`` makes it right away. Takes the part and its folder.
        torch_network: turns its folder into a torch network, for ``anymodal models quantize``;
            empty if there is none.
        gate_subject: turns its folder and the most tokens into what a gate is fitted to; likewise.
    """

    open: Callable[[Opening], Any]
    prepare: str = ""
    makes_vectors: bool = True
    network: Callable[[Path], Network] | None = None
    int8_identity: Callable[[], str] | None = None
    asks: bool = False
    later: Mapping[str, Callable[[Part, Path], None]] = field(default_factory=dict)
    torch_network: str = ""
    gate_subject: str = ""
