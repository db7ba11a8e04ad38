"""Vision transformers of CLIP and SigLIP: similar patches merge from layer to layer.

As in ToMe (Bolya et al. 2023) each layer merges the same number in every picture, so a batch needs
no padding. After the last layer each patch gets the state of the token that it was merged into, so
pooling sees all patches.
"""

from __future__ import annotations

from functools import partial
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.dsre.merge import Tokens, choose, combine, destinations, match

MODEL_TYPES = ("clip_vision_model", "siglip_vision_model", "siglip2_vision_model")
_ANY_COSINE = -2.0


def merge_patches(model: nn.Module, share: float) -> bool:
    """Let the vision towers within a model merge patches; False if there is none.

    Args:
        model: changed in place.
        share: the share of patches left after the last layer; above 0, up to 1. Every layer
            merges the same number, the first ones too.
    """
    towers: list[Any] = [module for module in model.modules() if _is_tower(module)]
    for tower in towers:
        tower.encoder.forward = partial(_forward, tower.encoder.layers, share)
    return bool(towers)


def kept(n_tokens: int, share: float, n_layers: int) -> list[int]:
    """How many tokens each layer's feed-forward has.

    >>> kept(100, 0.4, 3)
    [80, 60, 40]
    """
    shares_left = (1 - (1 - share) * (layer + 1) / n_layers for layer in range(n_layers))
    return [ceil(round(n_tokens * share_left, 6)) for share_left in shares_left]


def _is_tower(module: nn.Module) -> bool:
    model_type = getattr(getattr(module, "config", None), "model_type", None)
    return model_type in MODEL_TYPES and hasattr(getattr(module, "encoder", None), "layers")


def _forward(
    layers: nn.ModuleList,
    share: float,
    inputs_embeds: Tensor,
    attention_mask: Tensor | None = None,
    **_: Any,
) -> Any:
    from transformers.modeling_outputs import BaseModelOutput

    sizes = _real(inputs_embeds, attention_mask)
    states, sizes = functional.pad(inputs_embeds, (0, 0, 0, 1)), functional.pad(sizes, (0, 1))
    n_even = states.shape[1] // 2 * 2
    tokens = Tokens(states[:, :n_even], sizes[:, :n_even], torch.zeros_like(sizes[:, :n_even]))
    places = torch.arange(n_even, device=states.device).expand(len(states), -1)
    floors = _floors(tokens.sizes, share, len(layers))
    for layer, floor in zip(layers, floors, strict=True):
        block: Any = layer
        mixed, _weights = block.self_attn(
            hidden_states=block.layer_norm1(tokens.states), attention_mask=_bias(tokens.sizes)
        )
        tokens, goes = _merge(tokens._replace(states=tokens.states + mixed), floor)
        # padding goes anywhere, even past the end
        places = goes.gather(1, places).clamp_max(tokens.states.shape[1] - 1)
        fed = tokens.states + block.mlp(block.layer_norm2(tokens.states))
        tokens = tokens._replace(states=fed)
    places = places[:, : inputs_embeds.shape[1], None].expand(-1, -1, states.shape[2])
    return BaseModelOutput(last_hidden_state=tokens.states.gather(1, places))


def _real(states: Tensor, mask: Tensor | None) -> Tensor:
    """1 for a patch and 0 for padding, [n, length], from transformers' attention mask."""
    if mask is None:
        return torch.ones_like(states[:, :, 0])
    is_real = mask[:, 0].any(1) if mask.dtype == torch.bool else (mask[:, 0] == 0).any(1)
    return is_real.to(states.dtype)


def _floors(sizes: Tensor, share: float, n_layers: int) -> list[Tensor]:
    counts = [kept(n, share, n_layers) for n in (sizes > 0).sum(1).tolist()]
    return list(torch.tensor(counts, device=sizes.device).T)


def _bias(sizes: Tensor) -> Tensor:
    lowest = torch.finfo(sizes.dtype).min
    logs = torch.where(sizes > 0, sizes.clamp_min(1.0).log(), lowest)
    return logs[:, None, None, :]


def _merge(tokens: Tokens, floor: Tensor) -> tuple[Tokens, Tensor]:
    """The tokens that are left, and where each one went."""
    similarity, partner = match(tokens)
    merged = choose(similarity, tokens.sizes, floor, _ANY_COSINE)
    return combine(tokens, merged, partner), destinations(tokens.sizes, merged, partner)
