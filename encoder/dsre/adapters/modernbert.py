"""ModernBERT (Warner et al. 2024): attention in its local layers costs only what it sees.

Vectors stay the same, since tokens are not merged here; see `encoder.dsre.adapters.rotary` for
that.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from encoder.dsre.windowed import windowed_attention

_NAME = "anymodal_windowed"


def use_windows(model: nn.Module) -> bool:
    """Switch all ModernBERTs within a model to windowed attention; False if there is none.

    Vectors stay the same up to rounding, so the space does too.
    """
    found: list[Any] = [part for part in model.modules() if _is_modernbert(part)]
    if found:
        _register()
    for part in found:
        part.set_attn_implementation(_NAME)
    return bool(found)


def _is_modernbert(part: nn.Module) -> bool:
    config = getattr(part, "config", None)
    is_one = getattr(config, "model_type", None) == "modernbert"
    return is_one and hasattr(part, "set_attn_implementation")


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, _padding)


def _padding(*, attention_mask: Tensor | None = None, **_: Any) -> Tensor | None:
    """Bool [n, 1, 1, length], false for padding, None without padding; windows are added later."""
    if attention_mask is None or bool(attention_mask.all()):
        return None
    return attention_mask.bool()[:, None, None, :]


def _attend(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The function that transformers calls; as in flash attention, a window counts its token."""
    if sliding_window is None:
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask, scale=scaling
        )
    else:
        real = None if attention_mask is None else attention_mask[:, 0, 0]
        mixed = windowed_attention(query, key, value, sliding_window - 1, real=real, scale=scaling)
    return mixed.transpose(1, 2).contiguous(), None
