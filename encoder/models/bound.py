"""A model with the towers that were bound to its space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from encoder.binding.binding import Binding, read_binding
from encoder.binding.tower import BoundTower
from encoder.errors import ModelError
from encoder.models.base import Model
from encoder.models.open import load_model
from encoder.models.quantized import folder_named
from encoder.registry import origin_of, registered_modalities
from encoder.towers.base import PluginTower, Tower
from encoder.towers.lazy import LazyTower
from encoder.types import Modality


def with_bindings(
    model: Model, paths: Sequence[Path], *, n_threads: int | None, quantization: str | None
) -> Model:
    """Add bound towers, or replace the model's own with them.

    Each binding is part of the space's identity. Its constants are used where the model ships its
    own; otherwise a store measures all of them.

    Args:
        model: the model to whose space all of them are bound.
        paths: files that ``anymodal models bind`` wrote.
        n_threads: of other models that bindings name.
        quantization: likewise.

    Raises:
        ModelError: a file is damaged, for a different space, or from a package that is missing or
            has a different version; or two bind one modality.
    """
    bindings: dict[Modality, Binding] = {}
    towers: dict[Modality, Tower] = {}
    for path in paths:
        binding = read_binding(path)
        _check_space(path, binding, model)
        if binding.modality in bindings:
            raise ModelError(
                f"{path} binds {binding.modality}, which another binding binds too.",
                remedy="Use only one of the two.",
            )
        bindings[binding.modality] = binding
        found = _source(path, binding, model, n_threads, quantization)
        towers[binding.modality] = LazyTower(partial(_bound, found, binding))
    return _joined(model, bindings, towers)


def _joined(
    model: Model, bindings: Mapping[Modality, Binding], towers: Mapping[Modality, Tower]
) -> Model:
    space = model.space
    constants = {kind: one for kind, one in space.calibration.items() if kind not in bindings}
    if space.calibration:
        constants |= {kind: one.calibration for kind, one in bindings.items()}
    identity = {f"bound:{kind}": one.identity for kind, one in bindings.items()}
    floors = {kind: one for kind, one in space.floors.items() if kind not in bindings}
    return replace(
        model,
        space=replace(
            space, identity={**space.identity, **identity}, calibration=constants, floors=floors
        ),
        towers={**model.towers, **towers},
        queries={kind: tower for kind, tower in model.queries.items() if kind not in bindings},
    )


def _check_space(path: Path, binding: Binding, model: Model) -> None:
    if binding.space != model.space.fingerprint:
        raise ModelError(
            f"{path} binds {binding.modality} to the space {binding.space}, but this model's is "
            f"{model.space.fingerprint}.",
            remedy="Use the model and the precision that it was made with, or bind again.",
        )


def _source(
    path: Path,
    binding: Binding,
    model: Model,
    n_threads: int | None,
    quantization: str | None,
) -> Callable[[], PluginTower]:
    """What loads the tower that makes the features, when it is needed."""
    if binding.origin.space == model.space.fingerprint:
        return partial(model.towers.__getitem__, binding.modality)
    if binding.origin.space:
        return partial(_of_model, path, binding, n_threads, quantization)
    factory = registered_modalities().get(binding.modality)
    there = origin_of(binding.modality) if factory else "not installed"
    if factory is None or there != binding.origin.made_by:
        raise ModelError(
            f"{path} was made with {binding.origin.made_by}; the package for "
            f"{binding.modality} here is {there}.",
            remedy="Install that version, or bind again with `anymodal models bind`.",
        )
    return partial(factory, model)


def _of_model(
    path: Path, binding: Binding, n_threads: int | None, quantization: str | None
) -> PluginTower:
    name = binding.origin
    precision = precision_beside(quantization)
    other = load_model(name.made_by, n_threads=n_threads, quantization=precision)
    if other.space.fingerprint != name.space:
        raise ModelError(
            f"{path} was made with {name.made_by} in the space {name.space}, but here it opens in "
            f"{other.space.fingerprint}.",
            remedy="Use the revision and the precision that it was made with, or bind again.",
        )
    return other.towers[binding.modality]


def precision_beside(quantization: str | None) -> str | None:
    """The precision of another model: a folder of the first one's towers does not apply to it."""
    return "auto" if folder_named(quantization) else quantization


def _bound(source: Callable[[], PluginTower], binding: Binding) -> BoundTower:
    tower = source()
    return BoundTower(tower.tower if isinstance(tower, LazyTower) else tower, binding.linear)
