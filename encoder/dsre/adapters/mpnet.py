"""MPNet (Song et al. 2020): attention has a bias that depends on how far apart two tokens are.

The position of a merged token is the mean position of the tokens it is made of.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.dsre.adapters.base import HfBlocks
from encoder.dsre.adapters.hf_bert import split_heads
from encoder.dsre.cost import Shape
from encoder.dsre.merge import Matching
from encoder.networks.bert import join_heads

MODEL_TYPES = ("mpnet",)
_FARTHEST = 128
"""All greater distances share one bias."""


def adapt(model: nn.Module) -> MpNetBlocks | None:
    """The blocks of an MPNet; None for anything else."""
    kind = getattr(getattr(model, "config", None), "model_type", None)
    return MpNetBlocks(model) if kind in MODEL_TYPES and hasattr(model, "encoder") else None


class MpNetBlocks(HfBlocks):
    """See `encoder.dsre.adapters.base.Blocks`; a state's last column is its position."""

    @property
    def shape(self) -> Shape:
        """See `Blocks.shape`."""
        config = self._model.config
        return Shape(config.num_hidden_layers, config.hidden_size, config.intermediate_size)

    @property
    def matching(self) -> Matching:
        """See `Blocks.matching`."""
        return Matching(width=int(self._model.config.hidden_size))

    def embed(self, input_ids: Tensor) -> Tensor:
        """See `Blocks.embed`."""
        return with_positions(self._model.embeddings(input_ids=input_ids))

    def attend(self, layer: int, x: Tensor, bias: Tensor, n_queries: int | None) -> Tensor:
        """See `Blocks.attend`."""
        attention = self._model.encoder.layer[layer].attention
        own, asking = attention.attn, x[:, :n_queries]
        states, positions = x[:, :, :-1], x[:, :, -1]
        q, k, v = (
            split_heads(project(some), own.num_attention_heads)
            for project, some in ((own.q, asking[:, :, :-1]), (own.k, states), (own.v, states))
        )
        apart = self._bias(positions, asking[:, :, -1]) + bias
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=apart)
        out = attention.LayerNorm(own.o(join_heads(mixed)) + asking[:, :, :-1])
        return torch.cat([out, asking[:, :, -1:]], 2)

    def feed(self, layer: int, x: Tensor) -> Tensor:
        """See `Blocks.feed`."""
        block, states = self._model.encoder.layer[layer], x[:, :, :-1]
        return torch.cat([block.output(block.intermediate(states), states), x[:, :, -1:]], 2)

    def finish(self, x: Tensor) -> Tensor:
        """See `Blocks.finish`."""
        return x[:, :, :-1]

    def _bias(self, positions: Tensor, asking: Tensor) -> Tensor:
        """The bias of each pair of tokens, [n, heads, n_queries, length]."""
        encoder = self._model.encoder
        distances = torch.arange(-_FARTHEST, _FARTHEST + 1, device=positions.device)
        table = encoder.relative_attention_bias(encoder.relative_position_bucket(distances))
        apart = (positions[:, None, :] - asking[:, :, None]).round()
        which = apart.clamp(-_FARTHEST, _FARTHEST).long() + _FARTHEST
        found: Tensor = table[which].permute(0, 3, 1, 2)
        return found


def with_positions(states: Tensor) -> Tensor:
    """States [n, length, d] with one more column: each token's position in its text."""
    n, length, _ = states.shape
    positions = torch.arange(length, device=states.device, dtype=states.dtype)
    return torch.cat([states, positions[None, :, None].expand(n, length, 1)], 2)
