"""A bundle's networks, and the precisions and gates with which they run."""

from __future__ import annotations

from pathlib import Path

from encoder.errors import ModelError
from encoder.models.precision import Network, Precision
from encoder.models.sources.bundle.declaration import Bundle
from encoder.models.sources.bundle.kinds import kind_named
from encoder.models.sparsity import Gates, Sparsity, Wish


def network(bundle: Bundle, folder: Path, name: str) -> Network:
    """The network of a part of a bundle in ``folder``.

    Raises:
        ModelError: the part has no network.
    """
    network_of = kind_named(bundle.parts[name].kind).network
    if network_of is None:
        raise ModelError(f"The {name} part has no network to run.", remedy="Choose another part.")
    return network_of(folder / name)


def parse_precision(bundle: Bundle, quantization: str | None) -> Precision:
    """The precision of a bundle's networks; see `Precision.parse`."""
    kinds = {name: kind_named(part.kind) for name, part in bundle.parts.items()}
    identities = (kind.int8_identity() for kind in kinds.values() if kind.int8_identity)
    return Precision.parse(
        quantization,
        model=bundle.spec,
        towers=[name for name, kind in kinds.items() if kind.network],
        int8_identity=" ".join(["int8", *identities]),
    )


def parse_sparsity(bundle: Bundle, wish: Wish, precision: Precision) -> Sparsity | None:
    """The gate of a bundle's text network; see `Sparsity.parse`."""
    part = bundle.parts["text"]
    gates = Gates(part.gates.get("text"), part.gates.get("chunks"), auto=part.auto_gate)
    return Sparsity.parse(wish, precision, gates)
