"""BERT and its relatives in Hugging Face transformers (post-norm), whose positions are absolute.

MPNet's are not: attention has a bias that depends on how far apart two tokens are. There the
position of a merged token is the mean position of the tokens it is made of.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.dsre.adapters.base import HfBlocks, join_heads, split_heads, with_positions
from encoder.dsre.cost import Shape
from encoder.dsre.merge import Matching

_BERTS = ("bert", "roberta", "xlm-roberta", "camembert", "electra")
MODEL_TYPES = (*_BERTS, "distilbert", "mpnet")
_FARTHEST = 128
"""All greater distances share one bias."""


def adapt(model: nn.Module) -> HfBlocks | None:
    """The blocks of an encoder of `MODEL_TYPES`; None for anything else, decoders included."""
    config = getattr(model, "config", None)
    model_type = getattr(config, "model_type", None)
    if model_type == "distilbert" and hasattr(model, "transformer"):
        return DistilBertBlocks(model)
    if not hasattr(model, "encoder"):
        return None
    if model_type == "mpnet":
        return MpNetBlocks(model)
    is_relative = getattr(config, "position_embedding_type", "absolute") != "absolute"
    if model_type not in _BERTS or is_relative or getattr(config, "is_decoder", False):
        return None
    return HfBertBlocks(model)


class HfBertBlocks(HfBlocks):
    """BERT (Devlin et al. 2019) and those that differ in their training only."""

    def embed(self, input_ids: Tensor) -> Tensor:
        states: Tensor = self._model.embeddings(input_ids=input_ids)
        if hasattr(self._model, "embeddings_project"):  # in an ELECTRA with narrow embeddings
            states = self._model.embeddings_project(states)
        return states

    def attend(self, layer: int, x: Tensor, bias: Tensor, n_queries: int | None) -> Tensor:
        attention = self._model.encoder.layer[layer].attention
        asking = x if n_queries is None else x[:, :n_queries]
        projections = attention.self
        q, k, v = (
            split_heads(project(states), self._model.config.num_attention_heads)
            for project, states in (
                (projections.query, asking),
                (projections.key, x),
                (projections.value, x),
            )
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out: Tensor = attention.output(join_heads(mixed), asking)
        return out

    def feed(self, layer: int, x: Tensor) -> Tensor:
        block = self._model.encoder.layer[layer]
        out: Tensor = block.output(block.intermediate(x), x)
        return out


class DistilBertBlocks(HfBlocks):
    """DistilBERT (Sanh et al. 2019): a BERT with different names."""

    @property
    def shape(self) -> Shape:
        config = self._model.config
        return Shape(config.n_layers, config.dim, config.hidden_dim)

    @property
    def narrows(self) -> bool:
        return False

    def embed(self, input_ids: Tensor) -> Tensor:
        states: Tensor = self._model.embeddings(input_ids)
        return states

    def attend(self, layer: int, x: Tensor, bias: Tensor, n_queries: int | None) -> Tensor:
        block = self._model.transformer.layer[layer]
        mixed, _ = block.attention(x, attention_mask=bias)
        out: Tensor = block.sa_layer_norm(mixed + x)
        return out[:, :n_queries]

    def feed(self, layer: int, x: Tensor) -> Tensor:
        block = self._model.transformer.layer[layer]
        out: Tensor = block.output_layer_norm(block.ffn(x) + x)
        return out


class MpNetBlocks(HfBlocks):
    """MPNet (Song et al. 2020); a state's last column is its position."""

    @property
    def matching(self) -> Matching:
        return Matching(width=int(self._model.config.hidden_size))

    def embed(self, input_ids: Tensor) -> Tensor:
        return with_positions(self._model.embeddings(input_ids=input_ids))

    def attend(self, layer: int, x: Tensor, bias: Tensor, n_queries: int | None) -> Tensor:
        attention = self._model.encoder.layer[layer].attention
        projections, asking = attention.attn, x[:, :n_queries]
        states, positions = x[:, :, :-1], x[:, :, -1]
        q, k, v = (
            split_heads(project(some), projections.num_attention_heads)
            for project, some in (
                (projections.q, asking[:, :, :-1]),
                (projections.k, states),
                (projections.v, states),
            )
        )
        apart = self._bias(positions, asking[:, :, -1]) + bias
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=apart)
        out = attention.LayerNorm(projections.o(join_heads(mixed)) + asking[:, :, :-1])
        return torch.cat([out, asking[:, :, -1:]], 2)

    def feed(self, layer: int, x: Tensor) -> Tensor:
        block, states = self._model.encoder.layer[layer], x[:, :, :-1]
        return torch.cat([block.output(block.intermediate(states), states), x[:, :, -1:]], 2)

    def finish(self, x: Tensor) -> Tensor:
        return x[:, :, :-1]

    def _bias(self, positions: Tensor, asking: Tensor) -> Tensor:
        """The bias of each pair of tokens, [n, heads, n_queries, length]."""
        encoder = self._model.encoder
        distances = torch.arange(-_FARTHEST, _FARTHEST + 1, device=positions.device)
        table = encoder.relative_attention_bias(encoder.relative_position_bucket(distances))
        apart = (positions[:, None, :] - asking[:, :, None]).round()
        which = apart.clamp(-_FARTHEST, _FARTHEST).long() + _FARTHEST
        biases: Tensor = table[which].permute(0, 3, 1, 2)
        return biases
