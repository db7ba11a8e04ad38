"""The loss of each layer in each scheme, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from encoder.errors import InputError
from encoder.quant.allocation.allocate import Option
from encoder.quant.schemes import Scheme


@dataclass(frozen=True)
class Row:
    """One layer in one scheme, all others unchanged.

    Args:
        layer: its name.
        kind: ``linear``, ``conv`` or ``embedding``.
        scheme: how its weight was stored.
        loss: the divergence of the model's output; infinite if that was not a number.
        nbytes: of the weight in this scheme, including scales.
        n_values: number of values in the weight.
        note: how the loss was found, if it was not measured for this row alone.
    """

    layer: str
    kind: str
    scheme: Scheme
    loss: float
    nbytes: int
    n_values: int
    note: str = ""


@dataclass(frozen=True)
class Losses:
    """Losses by layer and scheme.

    Args:
        rows: in the model's order of layers, each from its narrowest scheme to FP32.
        objective: how a loss is measured: ``kl`` in nats, or ``cosine`` for 1 − cosine.
        mode: ``measured``, or ``fisher`` or ``weights`` for an estimate.
        fp32_nbytes: of the whole model.
        n_items: how many items a loss is the mean over.
        unsupported: large parameters that no scheme is available for.
        notes: candidates that were left out, and why.
        is_synthetic: whether the inputs were made up, since none were given.
    """

    rows: Sequence[Row]
    objective: str
    mode: str
    fp32_nbytes: int
    n_items: int
    unsupported: Sequence[str] = ()
    notes: Sequence[str] = ()
    is_synthetic: bool = False

    @property
    def is_estimate(self) -> bool:
        """Whether losses were not measured on data of the model's kind."""
        return self.is_synthetic or self.mode != "measured"

    @property
    def layers(self) -> list[str]:
        """Names, in the model's order."""
        return list(dict.fromkeys(row.layer for row in self.rows))

    @property
    def schemes(self) -> list[Scheme]:
        """All schemes that occur, from narrow to wide."""
        return sorted({row.scheme for row in self.rows}, key=width)

    def loss(self, layer: str, scheme: str | Scheme) -> float:
        """The loss of one layer in one scheme.

        Raises:
            InputError: the report has no such row.
        """
        wanted = Scheme.parse(scheme)
        offered = {row.scheme: row.loss for row in self.rows if row.layer == layer}
        if wanted in offered:
            return offered[wanted]
        what = [each.name for each in offered] if offered else f"a layer of {self.layers}"
        raise InputError("loss", got=f"{layer!r} in {wanted.name}", wanted=f"{what}")

    def options(self) -> dict[str, list[Option]]:
        """The options for `allocate.allocate`; schemes that break the output are left out."""
        found: dict[str, list[Option]] = {name: [] for name in self.layers}
        for row in self.rows:
            if row.loss < float("inf"):
                found[row.layer].append(Option(row.scheme, row.loss, row.nbytes))
        return found


def width(scheme: Scheme) -> tuple[int, int]:
    """A key that sorts from narrow to wide; of equal bits, long groups first.

    >>> names = ("int4g64", "int8", "int4")
    >>> [scheme.name for scheme in sorted(map(Scheme.parse, names), key=width)]
    ['int4', 'int4g64', 'int8']
    """
    return scheme.bits, -(scheme.group or 1_000_000)
