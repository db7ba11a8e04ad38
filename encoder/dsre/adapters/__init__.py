"""One file for each architecture that tokens can be merged in; `blocks_of` finds the right one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder.dsre.adapters.base import Blocks
from encoder.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Blocks", "blocks_of"]


def blocks_of(model: nn.Module) -> Blocks:
    """The model's layers, cut in two where tokens may merge.

    Raises:
        ModelError: an architecture without an adapter; the model itself still runs dense.
    """
    from encoder.dsre.adapters import hf_bert, sentence_bert

    blocks: Blocks | None = sentence_bert.adapt(model) or hf_bert.adapt(model)
    if blocks is not None:
        return blocks
    kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    raise ModelError(
        f"Dynamic sparse inference does not know {kind!r}: it needs a BERT-like encoder with "
        f"absolute positions ({', '.join(hf_bert.MODEL_TYPES)}).",
        remedy="Set enable_dsre=False to run it dense.",
    )
