"""Encoders with rotary positions (RoFormer, Su et al. 2021), some with windows, some causal.

A merged token is rotated by the mean position of the tokens it is made of, and a window is centred
there; the model's own attention does the rest. So nothing changes where nothing merges.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from encoder.dsre.adapters.base import HfBlocks, with_positions
from encoder.dsre.cost import Shape
from encoder.dsre.merge import Matching


def adapt(model: nn.Module) -> RotaryBlocks | None:
    """The blocks of an encoder with rotary positions; None for anything else."""
    inner: Any = getattr(model, "language_model", model)
    model_type = getattr(getattr(inner, "config", None), "model_type", None)
    blocks = _BLOCKS.get(str(model_type))
    return blocks(inner) if blocks and hasattr(inner, "layers") else None


class RotaryBlocks(HfBlocks):
    """See `encoder.dsre.adapters.base.Blocks`; the column after ``matching.width`` is a position.

    Any columns after the position are values that a network reads again in later layers.
    """

    angles_by_layer = False
    """Whether local and global layers rotate by different angles."""

    @property
    def shape(self) -> Shape:
        """See `Blocks.shape`: gated feed-forward has three matrices where others have two."""
        config = self._model.config
        gated = 3 * int(config.intermediate_size) // 2
        return Shape(config.num_hidden_layers, config.hidden_size, gated)

    @property
    def matching(self) -> Matching:
        causal = bool(self._attention(self._model.layers[0]).is_causal)
        return Matching(int(self._model.config.hidden_size), later_only=causal)

    @property
    def narrows(self) -> bool:
        return False

    def embed(self, input_ids: Tensor) -> Tensor:
        return with_positions(self._embed(input_ids))

    def attend(self, layer: int, x: Tensor, bias: Tensor, n_queries: int | None) -> Tensor:
        states, carried = self._parts(x)
        positions, block = carried[:, :, 0], self._model.layers[layer]
        attention = self._attention(block)
        by_layer = (self._model.config.layer_types[layer],) if self.angles_by_layer else ()
        mixed, _ = attention(
            self._before(block, states),
            position_embeddings=self._model.rotary_emb(states, positions, *by_layer),
            attention_mask=_mask(attention, bias, positions),
        )
        return torch.cat([self._after(block, states, mixed), carried], 2)[:, :n_queries]

    def feed(self, layer: int, x: Tensor) -> Tensor:
        states, carried = self._parts(x)
        return torch.cat([self._feed(self._model.layers[layer], states), carried], 2)

    def finish(self, x: Tensor) -> Tensor:
        return self._finish(self._parts(x)[0])

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        width = self._model.config.hidden_size
        return x[:, :, :width], x[:, :, width:]

    def _attention(self, block: Any) -> Any:
        return block.self_attn

    def _embed(self, input_ids: Tensor) -> Tensor:
        states: Tensor = self._model.embed_tokens(input_ids)
        return states

    def _before(self, block: Any, x: Tensor) -> Tensor:
        normed: Tensor = block.input_layernorm(x)
        return normed

    def _after(self, block: Any, x: Tensor, mixed: Tensor) -> Tensor:  # noqa: ARG002
        return x + mixed

    def _feed(self, block: Any, x: Tensor) -> Tensor:
        fed: Tensor = x + block.mlp(block.post_attention_layernorm(x))
        return fed

    def _finish(self, x: Tensor) -> Tensor:
        normed: Tensor = self._model.norm(x)
        return normed


class _Nomic(RotaryBlocks):
    """Nomic Embed (Nussbaum et al. 2024): norms after each half, as in BERT."""

    def _embed(self, input_ids: Tensor) -> Tensor:
        states: Tensor = self._model.embeddings(input_ids=input_ids)
        return states

    def _before(self, block: Any, x: Tensor) -> Tensor:  # noqa: ARG002
        return x

    def _after(self, block: Any, x: Tensor, mixed: Tensor) -> Tensor:
        normed: Tensor = block.post_attention_layernorm(x + mixed)
        return normed

    def _feed(self, block: Any, x: Tensor) -> Tensor:
        fed: Tensor = block.post_mlp_layernorm(x + block.mlp(x))
        return fed

    def _finish(self, x: Tensor) -> Tensor:
        return x


class _ModernBert(RotaryBlocks):
    """ModernBERT (Warner et al. 2024): most layers see near tokens only."""

    angles_by_layer = True

    def _attention(self, block: Any) -> Any:
        return block.attn

    def _embed(self, input_ids: Tensor) -> Tensor:
        states: Tensor = self._model.embeddings(input_ids=input_ids)
        return states

    def _before(self, block: Any, x: Tensor) -> Tensor:
        normed: Tensor = block.attn_norm(x)
        return normed

    def _feed(self, block: Any, x: Tensor) -> Tensor:
        fed: Tensor = x + block.mlp(block.mlp_norm(x))
        return fed

    def _finish(self, x: Tensor) -> Tensor:
        normed: Tensor = self._model.final_norm(x)
        return normed


class _Gemma(RotaryBlocks):
    """EmbeddingGemma (Vera et al. 2025): norms on both sides of each half, local layers."""

    angles_by_layer = True

    def _after(self, block: Any, x: Tensor, mixed: Tensor) -> Tensor:
        added: Tensor = x + block.post_attention_layernorm(mixed)
        return added

    def _feed(self, block: Any, x: Tensor) -> Tensor:
        fed = block.mlp(block.pre_feedforward_layernorm(x))
        added: Tensor = x + block.post_feedforward_layernorm(fed)
        return added


class _Gemma2(_Gemma):
    """EmbeddingGemma 2: each layer reads the embeddings again; a merged token has their mean."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        # the layer that holds it may be replaced by one in another layout
        self._projection: Tensor = self._model.ple.per_layer_model_projection.weight

    def embed(self, input_ids: Tensor) -> Tensor:
        states = self._embed(input_ids)
        return torch.cat([with_positions(states), states], 2)

    def feed(self, layer: int, x: Tensor) -> Tensor:
        states, carried = self._parts(x)
        block = self._model.layers[layer]
        fed = block.ple_block(self._feed(block, states), self._seen(layer, carried))
        return torch.cat([fed * block.layer_scalar, carried], 2)

    def _seen(self, layer: int, carried: Tensor) -> Tensor:
        """The layer's part of ``ple``: the other layers' parts need not be computed."""
        ple = self._model.ple
        width = ple.hidden_size_per_layer_input
        rows = self._projection[layer * width : (layer + 1) * width]
        projected = nn.functional.linear(carried[:, :, 1:], rows)
        normed: Tensor = ple.per_layer_projection_norm(
            projected * ple.per_layer_model_projection_scale
        )
        return normed

    def _finish(self, x: Tensor) -> Tensor:
        projected: Tensor = self._model.embedding_projection(self._model.norm(x))
        return projected


_BLOCKS: dict[str, type[RotaryBlocks]] = {
    "nomic_bert": _Nomic,
    "modernbert": _ModernBert,
    "gemma3_text": _Gemma,
    "embedding_gemma2_text": _Gemma2,
    "qwen3": RotaryBlocks,
}
MODEL_TYPES = tuple(_BLOCKS)


def _mask(attention: Any, bias: Tensor, positions: Tensor) -> Tensor:
    """What is added to the logits: ``bias``, or the lowest beyond the window or ahead."""
    window = getattr(attention, "sliding_window", None)
    if window is None and not attention.is_causal:
        return bias
    index = torch.arange(positions.shape[1], device=positions.device)
    is_seen = torch.ones_like(index[:, None] == index)
    if attention.is_causal:
        is_seen = index[:, None] >= index
    if window is not None:
        near = (positions[:, :, None] - positions[:, None, :]).abs() < window
        is_seen = near[:, None] & is_seen
    return torch.where(is_seen, bias, torch.finfo(bias.dtype).min)
