"""Modules of transformers in a form that the exporter can follow; they compute the same."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

Forward = Callable[..., Any]

_CHECK = "torch_compilable_check"


@contextmanager
def traceable(model: nn.Module) -> Iterator[None]:
    """Replace methods of modules that cannot be exported, for as long as this is open."""
    with ExitStack() as stack:
        for module in model.modules():
            form = _FORMS.get(type(module).__name__)
            if form:
                attribute, name, make = form
                stack.enter_context(
                    _replaced(getattr(module, attribute, module), name, make(module))
                )
        for home in {type(module).__module__ for module in model.modules()}:
            # asks tensors for values, which no graph can
            if hasattr(sys.modules[home], _CHECK):
                stack.enter_context(_replaced(sys.modules[home], _CHECK, lambda *_: None))
        yield


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    original = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if original is None:  # a method, which belongs to its class
            delattr(owner, name)
        else:
            setattr(owner, name, original)


def _clipped_linear(module: Any) -> Forward:
    """Bounds as constants: as buffers, those of one linear layer hide those of the next."""
    if not module.use_clipped_linears:
        forward_unclipped: Forward = module.linear.forward  # the layer itself would become a part
        return forward_unclipped
    ends = [
        tuple(float(getattr(module, f"{side}_{end}")) for end in ("min", "max"))
        for side in ("input", "output")
    ]

    def forward(hidden_states: Tensor) -> Tensor:
        return _clip(module.linear(_clip(hidden_states, *ends[0])), *ends[1])

    return forward


def _clip(values: Tensor, low: float, high: float) -> Tensor:
    if math.isinf(low) and math.isinf(high):
        return values
    return values.clamp(low, high)


def _pool_by_positions(module: Any) -> Forward:
    """The kernel comes from the network's settings, not from the shapes at run time."""
    kernel = int(module.config.pooling_kernel_size)

    def pool(hidden_states: Tensor, positions: Tensor, length: int) -> tuple[Tensor, Tensor]:
        import torch

        at = positions.clamp(min=0)
        width = (at[..., 0].amax(-1, keepdim=True) + 1) // kernel
        cell = at[..., 0] // kernel + width * (at[..., 1] // kernel)
        places = torch.arange(length, device=cell.device)
        is_real = (positions != -1).any(-1, keepdim=True)
        weights = ((cell[..., None] == places) & is_real).float() / kernel**2
        return weights.transpose(1, 2) @ hidden_states.float(), (weights > 0).any(1)

    return pool


def _short_sounds_only(module: Any) -> Forward:
    """No sound of a batch is marked as long, since the sound tower cuts windows."""
    whole: Forward = type(module).forward.__get__(module)

    def forward(hidden_states: Tensor, _is_longer: Any = None) -> Any:
        return whole(hidden_states, [])

    return forward


def _sound_attention(module: Any) -> Forward:
    """Attention within blocks, with sizes that the exporter need not reason about.

    For a slice and for an unfolded axis it records lengths such as min(12 ceil(n / 12), n), in each
    layer in terms of those of the layer before: twelve layers take an hour.
    """
    chunk, context = module.chunk_size, module.context_size
    n_past, n_future = module.max_past_horizon, module.max_future_horizon + module.chunk_size - 1
    n_heads, width = module.num_heads, module.head_dim

    def forward(
        hidden_states: Tensor, position_embeddings: Tensor, attention_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        import torch
        from torch.nn import functional

        n, length, _ = hidden_states.shape
        n_blocks = (length + chunk - 1) // chunk

        def blocks(states: Tensor, n_past: int, size: int) -> Tensor:
            """[n, n_heads, n_blocks, size, width]"""
            padded = functional.pad(states.float(), (0, 0, n_past, n_future))
            places = torch.arange(n_blocks)[:, None] * chunk + torch.arange(size)
            cut = padded.index_select(1, places.flatten())
            return cut.reshape(n, n_blocks, size, n_heads, width).permute(0, 3, 1, 2, 4)

        queries = blocks(module.q_proj(hidden_states), 0, chunk)
        queries = queries * (module.q_scale * functional.softplus(module.per_dim_scale))
        keys = blocks(module.k_proj(hidden_states), n_past, context) * module.k_scale
        values = blocks(module.v_proj(hidden_states), n_past, context)
        places = module.relative_k_proj(position_embeddings).float().reshape(-1, n_heads, width)
        far = module._rel_shift(queries @ places.permute(1, 2, 0)[:, None])
        logits = (queries @ keys.transpose(-1, -2) + far) / module.softcap
        logits = torch.tanh(logits) * module.softcap
        if attention_mask is not None:
            hidden = module.config.attention_invalid_logits_value
            logits = logits.masked_fill(attention_mask != 0, hidden)
        weights = logits.softmax(-1)
        heard = (weights @ values).permute(0, 2, 3, 1, 4)
        heard = heard.reshape(n, n_blocks * chunk, n_heads * width)
        heard = heard.index_select(1, torch.arange(length))  # keeps the length's name
        return module.post(heard.to(hidden_states.dtype)), weights

    return forward


_FORMS: Mapping[str, tuple[str, str, Callable[[Any], Forward]]] = {
    "Gemma4ClippableLinear": ("", "forward", _clipped_linear),
    "Gemma4VisionModel": ("pooler", "_avg_pool_by_positions", _pool_by_positions),
    "Gemma4AudioAttention": ("", "forward", _sound_attention),
    "ClapAudioPatchEmbed": ("", "forward", _short_sounds_only),
}
"""By class: which part's method is replaced, and what makes the replacement."""
