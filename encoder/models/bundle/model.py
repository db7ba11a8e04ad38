"""The model of a bundle: towers that meet in the space of its text network."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from encoder.dsre.gatefile import GateFile
from encoder.errors import ModelError
from encoder.models.bundle.declaration import (
    DEFAULT,
    Bundle,
    BundlePart,
    bundle_names,
    location,
    read_bundle,
)
from encoder.models.bundle.kinds import Opening, kind_named
from encoder.models.precision import NetworkFiles, Precision
from encoder.models.sparsity import Wish, wanted_gate
from encoder.space import Space
from encoder.system.cache import hold
from encoder.towers.base import LazyTower, QueryTower
from encoder.towers.model import Model
from encoder.types import AUDIO, IMAGE, TEXT

_TOWERS = (TEXT, IMAGE, AUDIO)


def load(
    bundle: Bundle,
    home: Path | None = None,
    *,
    n_threads: int | None = None,
    quantization: str | None = None,
    enable_dsre: Wish = False,
) -> Model:
    """Assemble the model of a bundle; each part opens on first use.

    Args:
        home: where it is, instead of `encoder.system.cache.cache_home`.
        quantization: see `Precision.parse`.
        enable_dsre: see `wanted_gate`.

    Raises:
        BundleError: the bundle is not there or not whole.
        ModelError: the quantization or the gate is of an unknown kind.
    """
    folder = location(bundle, home)
    precision = parse_precision(bundle, quantization)
    gate = wanted_gate(enable_dsre, precision, bundle.parts["text"].gate)
    asking = [
        name for name, bundle_part in bundle.parts.items() if kind_named(bundle_part.kind).has_query
    ]
    parts = _opened(bundle, folder, precision, gate, n_threads)
    model = Model(
        space=_space(bundle, precision),
        towers={modality: parts[modality] for modality in _TOWERS if modality in parts},
        queries={name: QueryTower(parts[name]) for name in _TOWERS if name in asking},
    )
    hold(folder, model)
    return model


def space_of(bundle: Bundle, quantization: str | None) -> Space:
    """The space of a bundle in this precision, see `load`; the bundle need not be there.

    Merging tokens moves a vector by less than a search shows, so it makes no other space.
    """
    return _space(bundle, parse_precision(bundle, quantization))


def _space(bundle: Bundle, precision: Precision) -> Space:
    return Space(
        bundle.embed_dim,
        _identity(bundle, precision),
        bundle.calibration,
        bank=bundle.bank,
        centring=bundle.centring,
        sideways=bundle.sideways,
    )


def _opened(
    bundle: Bundle,
    folder: Path,
    precision: Precision,
    gate: GateFile | None,
    n_threads: int | None,
) -> dict[str, Any]:
    """The parts that vectors depend on, by name; weights load on first use."""
    parts: dict[str, Any] = {}
    for name, bundle_part in bundle.parts.items():
        part_kind = kind_named(bundle_part.kind)
        if not part_kind.makes_vectors:
            continue
        opening = Opening(
            bundle_part,
            folder / name,
            precision=precision,
            gate=gate,
            n_threads=n_threads,
            other=parts.__getitem__,
            parts=bundle.parts,
        )
        load_part = partial(part_kind.open, opening)
        parts[name] = LazyTower(load_part) if name in _TOWERS else load_part()
    return parts


def _weights(bundle_part: BundlePart) -> str:
    return f"{bundle_part.identity} recipe:{bundle_part.recipe}"


def _identity(bundle: Bundle, precision: Precision) -> dict[str, str]:
    """Everything that moves a vector by more than a search shows; calibration does not."""
    part_kinds = ((part, kind_named(part.kind)) for part in bundle.parts.values())
    parts = [
        part for part, part_kind in part_kinds if part_kind.makes_vectors and part_kind.names_space
    ]
    tables = hashlib.sha256()
    tables_of_parts = (path for bundle_part in parts for path in bundle_part.tables.values())
    for path in sorted(
        tables_of_parts, key=lambda path: path.name
    ):  # wherever the tables are stored
        tables.update(path.name.encode() + path.read_bytes())
    weights = {bundle_part.name: _weights(bundle_part) for bundle_part in parts}
    identity = {**weights, "tables": f"sha256:{tables.hexdigest()}"}
    if precision.identity:
        identity["quantization"] = precision.identity
    return identity


def network(bundle: Bundle, folder: Path, name: str) -> NetworkFiles:
    """The network of a part of a bundle in ``folder``; raises a ModelError if it has none."""
    network_of = kind_named(bundle.parts[name].kind).network
    if network_of is None:
        raise ModelError(f"The {name} part has no network to run.", remedy="Choose another part.")
    return network_of(folder / name)


def parse_precision(bundle: Bundle, quantization: str | None) -> Precision:
    """The precision of a bundle's networks; see `Precision.parse`."""
    kinds = {name: kind_named(bundle_part.kind) for name, bundle_part in bundle.parts.items()}
    identities = (
        part_kind.int8_identity() for part_kind in kinds.values() if part_kind.int8_identity
    )
    return Precision.parse(
        quantization,
        model=bundle.spec,
        towers=[name for name, part_kind in kinds.items() if part_kind.network],
        int8_identity=" ".join(["int8", *identities]),
    )


_PRECISIONS = {None: "float32", "int8": "int8"}


def bundle_of(spaces: Collection[str], quantization: str | None) -> str | None:
    """The bundle that, in this precision, makes embeddings of one of these spaces (fingerprints).

    The default bundle's name if several match; None if none does.
    """
    for name in _names():
        with suppress(ModelError):  # a quantized tower belongs to one bundle
            if space_of(read_bundle(name), quantization).fingerprint in spaces:
                return f"bundle:{name}"
    return None


def describe(fingerprint: str) -> str:
    """Describe a space for people: its fingerprint, and the bundle and settings that make it.

    >>> describe("501ec820819859f8")
    '501ec820819859f8 (bundle:english, float32)'
    """
    for name, precision in product(_names(), _PRECISIONS):
        if fingerprint == space_of(read_bundle(name), precision).fingerprint:
            return f"{fingerprint} (bundle:{name}, {_PRECISIONS[precision]})"
    return fingerprint


def _names() -> Iterator[str]:
    """The default one first."""
    yield DEFAULT
    yield from (name for name in bundle_names() if name != DEFAULT)
