"""From a model's name to the model."""

from __future__ import annotations

from pathlib import Path

from encoder.errors import ModelError
from encoder.models.base import Model
from encoder.models.sparsity import Wish

_KINDS = "Use bundle:default, hf:org/name, hf:org/name@revision or dir:path."


def load_model(
    spec: str,
    *,
    device: str | None = None,
    n_threads: int | None = None,
    quantization: str | None = None,
    enable_dsre: Wish = False,
) -> Model:
    """Load a model by name.

    Args:
        spec: ``bundle:default`` (offline), ``hf:org/name@revision`` (a model hub) or
            ``dir:path`` (the same layout in a folder).
        device: a torch device, such as ``cuda:0``; the bundle runs on the CPU only.
        n_threads: CPU threads of one network of the bundle; None for every core.
        quantization: None, ``int8``, ``auto`` or a folder made by ``anymodal quantize``. For other
            models than the bundle ``auto`` is None.
        enable_dsre: True, False, ``auto``, a gate file, or chunks, see `Sparsity.parse`. Only
            the bundle has a gate; of other models ModernBERT has windowed attention, and ``auto``
            is False for the rest.

    Raises:
        ModelError: the name is of no known kind, or the model cannot be found or loaded.
    """
    kind, _, name = spec.partition(":")
    if spec == "bundle:default":
        return _load_bundle(device, n_threads, quantization, enable_dsre)
    if kind not in ("hf", "dir") or not name:
        raise ModelError(f"The model {spec!r} is of no known kind.", remedy=_KINDS)
    if quantization not in (None, "auto"):
        raise ModelError(
            f"quantization={quantization!r} is for the bundle; {spec} runs as its weights are.",
            remedy='Leave quantization out or "auto"; encoder.Quantizer quantizes torch models.',
        )
    if not isinstance(enable_dsre, bool) and enable_dsre != "auto":
        raise ModelError(
            f"enable_dsre={enable_dsre!r}: {spec} has no calibrated gate.",
            remedy='Leave enable_dsre out or "auto": it runs dense; or use bundle:default.',
        )
    from encoder.models import hub

    if kind == "dir":
        folder = _existing(Path(name).expanduser())
        return hub.load(folder, revision=None, device=device, windows=enable_dsre)
    name, _, revision = name.partition("@")
    return hub.load(name, revision=revision or None, device=device, windows=enable_dsre)


def _load_bundle(
    device: str | None, n_threads: int | None, quantization: str | None, enable_dsre: Wish
) -> Model:
    from encoder.models import default

    if device not in (None, "cpu"):
        raise ModelError(
            f"bundle:default runs on the CPU; got device={device!r}.",
            remedy="Leave the device out, or use a hub model (hf:org/name).",
        )
    return default.load(n_threads=n_threads, quantization=quantization, enable_dsre=enable_dsre)


def _existing(folder: Path) -> str:
    if not folder.is_dir():
        raise ModelError(f"The model folder {folder} does not exist.", remedy=_KINDS)
    return str(folder.absolute())
