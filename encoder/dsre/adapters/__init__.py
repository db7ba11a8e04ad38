"""One module for each family of encoders whose tokens can be merged; `blocks_of` picks it."""

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
        ModelError: the architecture has no adapter; the model itself still runs dense.
    """
    from encoder.dsre.adapters import bert, rotary

    if make_blocks := getattr(model, "merge_blocks", None):
        own_blocks: Blocks = make_blocks()
        return own_blocks
    for family in (bert, rotary):
        adapted: Blocks | None = family.adapt(model)
        if adapted is not None:
            return adapted
    model_type = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    supported = ", ".join(name for family in (bert, rotary) for name in family.MODEL_TYPES)
    raise ModelError(
        f"Dynamic sparse inference does not support {model_type!r}, only {supported}.",
        remedy="Set enable_dsre=False to run it dense.",
    )
