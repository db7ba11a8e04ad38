"""The model of a bundle: towers that meet in the space of its text network."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from encoder.models.artifacts.in_use import hold
from encoder.models.base import Model
from encoder.models.precision import Precision
from encoder.models.sources.bundle.choices import parse_precision, parse_sparsity
from encoder.models.sources.bundle.declaration import Bundle
from encoder.models.sources.bundle.folder import location
from encoder.models.sources.bundle.kinds import kind_named
from encoder.models.sources.bundle.kinds.base import Opening
from encoder.models.sparsity import Sparsity, Wish
from encoder.space import Space
from encoder.towers.base import Tower
from encoder.towers.lazy import LazyTower
from encoder.types import AUDIO, IMAGE, TEXT, Role, Utterance, Waveform

_TOWERS = (TEXT, IMAGE, AUDIO)
_READER = "ocr"


def load(
    bundle: Bundle,
    home: Path | None = None,
    *,
    n_threads: int | None = None,
    quantization: str | None = None,
    enable_dsre: Wish = False,
) -> Model:
    """Assemble the model; each part opens on first use.

    Args:
        bundle: see `encoder.models.sources.bundle.declaration.read_bundle`.
        home: where it is, instead of `encoder.models.artifacts.locations.cache_home`.
        n_threads: threads of one network; None for every core.
        quantization: see `Precision.parse`.
        enable_dsre: see `Sparsity.parse`.

    Raises:
        BundleError: the bundle is not there or not whole.
        ModelError: the quantization or the gate is of an unknown kind.
        InputError: chunks that no gate can work with.
    """
    folder = location(bundle, home)
    precision = parse_precision(bundle, quantization)
    sparsity = parse_sparsity(bundle, enable_dsre, precision)
    asking = [name for name, part in bundle.parts.items() if kind_named(part.kind).asks]
    parts = _opened(bundle, folder, precision, sparsity, n_threads)
    model = Model(
        space=_space(bundle, precision, sparsity),
        towers={kind: parts[kind] for kind in _TOWERS if kind in parts},
        queries={kind: _asking(parts[kind]) for kind in _TOWERS if kind in asking},
        transcribe=partial(_transcribe, parts[AUDIO]) if AUDIO in parts else None,
        reader=parts.get(_READER),
    )
    hold(folder, model)
    return model


def _transcribe(tower: LazyTower[Any], sound: Waveform, role: Role) -> list[Utterance]:
    said: list[Utterance] = tower.tower.transcribe(sound, role)
    return said


def _asking(tower: LazyTower[Any]) -> Tower:
    """The tower for queries, opened together with the one for documents."""
    return LazyTower(lambda: tower.tower.query)


def space_of(bundle: Bundle, quantization: str | None, enable_dsre: Wish) -> Space:
    """The space of a bundle with these settings, see `load`; the bundle need not be there."""
    precision = parse_precision(bundle, quantization)
    sparsity = parse_sparsity(bundle, enable_dsre, precision)
    return _space(bundle, precision, sparsity)


def _space(bundle: Bundle, precision: Precision, sparsity: Sparsity | None) -> Space:
    identity, table = _identity(bundle, precision, sparsity), bundle.calibration
    return Space(bundle.embed_dim, identity, table.constants, floors=table.floors)


def _opened(
    bundle: Bundle,
    folder: Path,
    precision: Precision,
    sparsity: Sparsity | None,
    n_threads: int | None,
) -> dict[str, Any]:
    """The parts by name. Towers open on first use; other parts load their weights on first use."""
    parts: dict[str, Any] = {}
    for name, part in bundle.parts.items():
        opening = Opening(part, folder / name, precision, sparsity, n_threads, parts.__getitem__)
        load_part = partial(kind_named(part.kind).open, opening)
        parts[name] = LazyTower(load_part) if name in _TOWERS else load_part()
    return parts


def _identity(bundle: Bundle, precision: Precision, sparsity: Sparsity | None) -> dict[str, str]:
    """Everything that changes a vector; calibration does not."""
    parts = [part for part in bundle.parts.values() if kind_named(part.kind).makes_vectors]
    tables = hashlib.sha256()
    found = (path for part in parts for path in part.tables.values())
    for path in sorted(found, key=lambda path: path.name):  # wherever the tables are stored
        tables.update(path.name.encode() + path.read_bytes())
    weights = {part.name: f"{part.identity} recipe:{part.recipe}" for part in parts}
    identity = {**weights, "tables": f"sha256:{tables.hexdigest()}"}
    if precision.identity:
        identity["quantization"] = precision.identity
    return identity | ({"dsre": sparsity.identity} if sparsity else {})
