"""From a model's name to the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from encoder.errors import ModelError
from encoder.models.base import Model
from encoder.models.sparsity import Wish, gate_from

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

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
            the bundle brings a gate; other BERT-like models take a file that was fitted to them.
            ModernBERT has windowed attention, and ``auto`` is False for the rest.

    Raises:
        ModelError: the name is of no known kind, or the model cannot be found or loaded.
    """
    if spec == "bundle:default":
        return _load_bundle(device, n_threads, quantization, enable_dsre)
    where, revision = _hub_place(spec)
    if quantization not in (None, "auto"):
        raise ModelError(
            f"quantization={quantization!r} is for the bundle; {spec} runs as its weights are.",
            remedy='Leave quantization out or "auto"; encoder.Quantizer quantizes torch models.',
        )
    from encoder.models import hub

    if isinstance(enable_dsre, bool) or enable_dsre == "auto":
        return hub.load(where, revision=revision, device=device, windows=enable_dsre)
    if not isinstance(enable_dsre, str):
        raise ModelError(
            f"enable_dsre={enable_dsre!r}: {spec} has no chunk gate.",
            remedy="Name a gate file made for it by `anymodal dsre calibrate`, or leave it out.",
        )
    return hub.load(where, revision=revision, device=device, gate=gate_from(enable_dsre))


def open_hub(spec: str, *, device: str | None = None) -> tuple[SentenceTransformer, str]:
    """A hub model as its library opens it, and the prompt that stands before each text.

    Raises:
        ModelError: see `load_model`.
    """
    from encoder.models import hub

    where, revision = _hub_place(spec)
    _, joint, prompt, _ = hub.open_joint(where, revision, device)
    return joint.model, prompt


def _hub_place(spec: str) -> tuple[str, str | None]:
    """An absolute folder, or a name on the hub and its revision."""
    kind, _, name = spec.partition(":")
    if kind not in ("hf", "dir") or not name:
        raise ModelError(f"The model {spec!r} is of no known kind.", remedy=_KINDS)
    if kind == "dir":
        return _existing(Path(name).expanduser()), None
    name, _, revision = name.partition("@")
    return name, revision or None


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
