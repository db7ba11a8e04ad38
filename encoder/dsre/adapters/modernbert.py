"""ModernBERT (Warner et al. 2024): attention in its local layers costs only what it sees.

Vectors stay the same, since tokens are not merged here; see `encoder.dsre.adapters.rotary` for
that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_NAME = "anymodal_windowed"


def use_windows(model: nn.Module) -> bool:
    """Switch all ModernBERTs within a model to windowed attention; False if there is none.

    Vectors stay the same up to rounding, so the space does too.
    """
    encoders: list[Any] = [module for module in model.modules() if _is_modernbert(module)]
    if encoders:
        _register()
    for module in encoders:
        module.set_attn_implementation(_NAME)
    return bool(encoders)


def _is_modernbert(module: nn.Module) -> bool:
    config = getattr(module, "config", None)
    is_one = getattr(config, "model_type", None) == "modernbert"
    return is_one and hasattr(module, "set_attn_implementation")


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


_BLOCK = 64
_WORTH = 3
"""Fewer blocks than this cost more to lay out than they save."""


def windowed_attention(
    q: Tensor, k: Tensor, v: Tensor, reach: int, *, real: Tensor | None = None, scale: float
) -> Tensor:
    """Attention in which each token sees those that are at most ``reach`` places away.

    Args:
        q: queries [n, heads, length, d].
        k: keys, of the same shape.
        v: values, of the same shape.
        reach: in tokens, at least 1.
        real: bool [n, length], false for padding, which no other token sees; None for no
            padding.
        scale: of the logits.

    Returns:
        [n, heads, length, d], up to rounding the same as attention with a mask over all pairs.
    """
    length = q.shape[2]
    n_blocks = -(-length // _BLOCK)
    if n_blocks < _WORTH or _BLOCK + 2 * reach >= length:
        mask = _band(length, reach, q.device) & _seen(real)
        mask = mask | torch.eye(length, dtype=torch.bool, device=q.device)
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    blocks = (_cut(q, n_blocks, 0), _cut(k, n_blocks, reach), _cut(v, n_blocks, reach))
    mask = _block_mask(length, n_blocks, reach, real, q)
    out = functional.scaled_dot_product_attention(*blocks, attn_mask=mask, scale=scale)
    n, heads, d = q.shape[0], q.shape[1], v.shape[3]
    out = out.reshape(n, n_blocks, heads, _BLOCK, d).transpose(1, 2)
    return out.reshape(n, heads, n_blocks * _BLOCK, d)[:, :, :length]


def _band(length: int, reach: int, device: torch.device) -> Tensor:
    position = torch.arange(length, device=device)
    near: Tensor = (position[:, None] - position).abs() <= reach
    return near


def _seen(real: Tensor | None) -> Tensor:
    return torch.ones((), dtype=torch.bool) if real is None else real[:, None, None, :]


def _cut(x: Tensor, n_blocks: int, reach: int) -> Tensor:
    """Blocks and ``reach`` tokens on both sides, [n * n_blocks, heads, _BLOCK + 2 reach, d]."""
    n, heads, length, d = x.shape
    x = functional.pad(x, (0, 0, reach, reach + n_blocks * _BLOCK - length))
    blocks = x.unfold(2, _BLOCK + 2 * reach, _BLOCK)  # [n, heads, n_blocks, d, width]
    return blocks.permute(0, 2, 1, 4, 3).reshape(n * n_blocks, heads, -1, d)


def _block_mask(
    length: int, n_blocks: int, reach: int, real: Tensor | None, like: Tensor
) -> Tensor:
    """Which keys each query sees in a block, bool [n * n_blocks, 1, _BLOCK, _BLOCK + 2 reach]."""
    n, device = like.shape[0], like.device
    if real is None:
        real = torch.ones(1, length, dtype=torch.bool, device=device)
    padded = functional.pad(real, (reach, reach + n_blocks * _BLOCK - length))
    keys = padded.unfold(1, _BLOCK + 2 * reach, _BLOCK)[:, :, None, None, :]
    ahead = (
        torch.arange(_BLOCK + 2 * reach, device=device)
        - torch.arange(_BLOCK, device=device)[:, None]
        - reach
    )
    # a row that sees nothing has no softmax
    mask = (keys & (ahead.abs() <= reach)) | (ahead == 0)
    return mask.expand(n, -1, -1, -1, -1).reshape(n * n_blocks, 1, _BLOCK, -1)
