"""Encode text, images, sound and video into one shared space.

>>> from encoder import MultiModalEncoder
>>> encoder = MultiModalEncoder()
>>> e = encoder.encode_multimodal(text="A cat sitting on a mat")
>>> e.text.shape
(384,)
"""

from typing import TYPE_CHECKING, Any

from encoder.errors import AnymodalError, InputError, ModelError
from encoder.system.environment import set_for_library

if TYPE_CHECKING:
    from encoder.multimodal import MultiModalEmbeddings, MultiModalEncoder
    from encoder.quant.quantizer import Quantizer
    from encoder.types import Embeddings, Item, Modality, Role, Waveform

__all__ = [
    "AnymodalError",
    "Embeddings",
    "InputError",
    "Item",
    "Modality",
    "ModelError",
    "MultiModalEmbeddings",
    "MultiModalEncoder",
    "Quantizer",
    "Role",
    "Waveform",
]

# Since 1.32, ONNX Runtime reports to its maker as soon as it is imported. ``0`` allows it.
set_for_library("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import encoder` loads nothing that its user does not need.
    if name == "MultiModalEncoder":
        from encoder.multimodal import MultiModalEncoder

        return MultiModalEncoder
    if name == "MultiModalEmbeddings":
        from encoder.multimodal import MultiModalEmbeddings

        return MultiModalEmbeddings
    if name in ("Embeddings", "Item", "Modality", "Role", "Waveform"):  # numpy takes 0.1 s
        from encoder import types

        return getattr(types, name)
    if name == "Quantizer":
        from encoder.system.extras import require

        require("encoder.Quantizer", "torch", "onnxscript")
        from encoder.quant.quantizer import Quantizer

        return Quantizer
    raise AttributeError(f"module 'encoder' has no attribute {name!r}")
