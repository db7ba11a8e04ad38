"""From a model's name to the model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from pydantic import SecretStr

from encoder.binding.binding import Binding, BoundTower, read_binding
from encoder.errors import ModelError
from encoder.models.sparsity import Wish
from encoder.models.spec import ModelSpec
from encoder.models.tower_folder import folder_named
from encoder.registry import origin_of, registered_modalities
from encoder.towers.base import LazyTower, PluginTower, Tower
from encoder.towers.model import Model
from encoder.types import Modality

_GPUS = ("/dev/nvidia0", "/dev/kfd", "/dev/dxg")
"""Devices that the drivers of NVIDIA, AMD and the Windows Subsystem for Linux create."""
_ON_CPU = (
    '%s was prepared and runs on the CPU. This machine has a GPU: device="cuda" runs the weights '
    'there, device="cpu" keeps the CPU and hides this message.'
)
_log = logging.getLogger(__name__)


def load_model(
    spec: str,
    *,
    device: str | None = None,
    n_threads: int | None = None,
    quantization: str | None = None,
    enable_dsre: Wish = False,
    keys: Mapping[str, SecretStr] = MappingProxyType({}),
) -> Model:
    """Load a model by name, see `ModelSpec.parse`; ``keys`` are those of servers, by URL.

    Bundles run on the CPU only. Of other models, what was prepared runs, on the CPU, unless a torch
    ``device`` is named; if nothing was, torch runs the weights, on a GPU if there is one. A
    precision that is named (``int8``, ``int4``) is prepared first; ``bf16`` and ``auto`` are not.

    Bundles come with a gate; for other models one is fitted, and an artifact prepared that merges
    by it, the first time that ``enable_dsre`` is True; ``auto`` takes that artifact if it is there
    and loses little enough.

    Raises:
        ModelError: the name is of no known kind, or the model cannot be found or loaded, or has no
            such cut.
    """
    parsed = ModelSpec.parse(spec)
    if parsed.kind == "remote":
        model = _load_remote(parsed.whole, device, quantization, enable_dsre, keys)
    else:
        model = _load_whole(parsed.whole, device, n_threads, quantization, enable_dsre)
    if parsed.cut is None:
        return model
    if parsed.cut not in model.cuts:
        cuts = ", ".join(map(str, model.cuts))
        raise ModelError(
            f"{parsed.whole} has no Matryoshka cut of {parsed.cut} dimensions.",
            remedy=f"Use one of {cuts}." if cuts else "Leave it out: the model has none at all.",
        )
    smaller = tuple(dimension for dimension in model.cuts if dimension < parsed.cut)
    return replace(model, cut=parsed.cut, cuts=smaller)


def _load_remote(
    spec: ModelSpec,
    device: str | None,
    quantization: str | None,
    enable_dsre: Wish,
    keys: Mapping[str, SecretStr],
) -> Model:
    if device or quantization not in (None, "auto") or enable_dsre not in (False, "auto"):
        raise ModelError(
            f"{spec} runs on its server, which decides on the device, the precision and DSRE.",
            remedy="Leave device, quantization and enable_dsre out.",
        )
    from encoder.models.remote import load

    return load(spec, keys)


def _load_whole(
    spec: ModelSpec,
    device: str | None,
    n_threads: int | None,
    quantization: str | None,
    enable_dsre: Wish,
) -> Model:
    if spec.kind == "bundle":
        from encoder.models.bundle.declaration import read_bundle
        from encoder.models.bundle.model import load

        if device not in (None, "cpu"):
            raise ModelError(
                f"{spec} runs on the CPU; got device={device!r}.",
                remedy="Leave the device out, or use a hub model (hf:org/name).",
            )
        bundle = read_bundle(spec.name)
        return load(bundle, n_threads=n_threads, quantization=quantization, enable_dsre=enable_dsre)
    if model := _load_prepared(spec, device, n_threads, quantization, enable_dsre):
        if device is None and quantization in (None, "auto") and _has_gpu():
            _log.warning(_ON_CPU, spec)
        return model
    from encoder.models.hub import load as load_hub

    return load_hub(
        spec.name,
        revision=spec.revision,
        device=device,
        n_threads=n_threads,
        bf16=quantization == "bf16",
    )


def _load_prepared(
    spec: ModelSpec,
    device: str | None,
    n_threads: int | None,
    quantization: str | None,
    enable_dsre: Wish,
) -> Model | None:
    """The model without torch; None where torch is asked for."""
    from encoder.prepare import merging, prepared

    folder = folder_named(quantization)
    wish = None if enable_dsre in (False, "auto") else enable_dsre
    if device not in (None, "cpu"):
        if wish is None and quantization in (None, "auto", "bf16"):
            return None
        what = f"quantization={quantization!r}" if wish is None else f"enable_dsre={enable_dsre!r}"
        raise ModelError(
            f"device={device!r} needs torch, which runs {spec} without {what}.",
            remedy="Leave device out, or the other.",
        )
    if folder:
        if wish is not None:
            raise ModelError(
                f"enable_dsre={enable_dsre!r} does not go with the quantized towers in {folder}.",
                remedy='Use quantization="int8" or None with it, or leave enable_dsre out.',
            )
        return prepared.load_quantized(spec, folder, n_threads)
    if wish is not None:
        return merging.load(spec, quantization, wish, n_threads)
    measured = merging.load_measured if enable_dsre == "auto" else None
    if measured and (model := measured(spec, quantization, n_threads)):
        return model
    return prepared.load(spec, quantization, n_threads)


def _has_gpu() -> bool:
    """Whether a driver shows a GPU; whether torch can use it is another question."""
    return any(Path(path).exists() for path in _GPUS)


def with_bindings(
    model: Model, paths: Sequence[Path], *, n_threads: int | None, quantization: str | None
) -> Model:
    """Add bound towers, or replace the model's own with them.

    Each binding is part of the space's identity. Its constants are used where the model ships its
    own; otherwise a store measures all of them. ``n_threads`` and ``quantization`` are of other
    models that bindings name.

    Raises:
        ModelError: a file is damaged, for a different space, or from a package that is missing or
            has a different version; or two bind one modality.
    """
    bindings: dict[Modality, Binding] = {}
    towers: dict[Modality, Tower] = {}
    for path in paths:
        binding = read_binding(path)
        if binding.space != model.space.fingerprint:
            raise ModelError(
                f"{path} binds {binding.modality} to the space {binding.space}, but this model's "
                f"is {model.space.fingerprint}.",
                remedy="Use the model and the precision that it was made with, or bind again.",
            )
        if binding.modality in bindings:
            raise ModelError(
                f"{path} binds {binding.modality}, which another binding binds too.",
                remedy="Use only one of the two.",
            )
        bindings[binding.modality] = binding
        source = _source(path, binding, model, n_threads, quantization)
        towers[binding.modality] = LazyTower(partial(_bound, source, binding))
    space = model.space
    constants = {m: each for m, each in space.calibration.items() if m not in bindings}
    queries = {m: tower for m, tower in model.queries.items() if m not in bindings}
    if space.calibration:
        constants |= {modality: binding.calibration for modality, binding in bindings.items()}
    identity = {f"bound:{modality}": binding.identity for modality, binding in bindings.items()}
    bound = replace(space, identity={**space.identity, **identity}, calibration=constants)
    return replace(model, space=bound, towers={**model.towers, **towers}, queries=queries)


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
    if name.space != other.space.fingerprint:
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
