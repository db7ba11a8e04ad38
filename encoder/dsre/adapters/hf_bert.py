"""BERT-like encoders of Hugging Face transformers (post-norm, absolute positions)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from encoder.dsre.adapters.base import HfBlocks
from encoder.dsre.cost import Shape
from encoder.networks.bert import join_heads

MODEL_TYPES = ("bert", "roberta", "xlm-roberta", "camembert", "electra")


def adapt(model: nn.Module) -> HfBertBlocks | None:
    """The blocks of a BERT-like encoder; None for anything else, decoders included."""
    config = getattr(model, "config", None)
    known = getattr(config, "model_type", None) in MODEL_TYPES and hasattr(model, "encoder")
    relative = getattr(config, "position_embedding_type", "absolute") != "absolute"
    if not known or relative or getattr(config, "is_decoder", False):
        return None
    return HfBertBlocks(model)


class HfBertBlocks(HfBlocks):
    """See `encoder.dsre.adapters.base.Blocks`."""

    @property
    def shape(self) -> Shape:
        """See `Blocks.shape`."""
        config = self._model.config
        return Shape(config.num_hidden_layers, config.hidden_size, config.intermediate_size)

    def embed(self, input_ids: Tensor) -> Tensor:
        """See `Blocks.embed`."""
        states: Tensor = self._model.embeddings(input_ids=input_ids)
        if hasattr(self._model, "embeddings_project"):  # in an ELECTRA with narrow embeddings
            states = self._model.embeddings_project(states)
        return states

    def attend(self, layer: int, x: Tensor, bias: Tensor, n_queries: int | None) -> Tensor:
        """See `Blocks.attend`."""
        attention = self._model.encoder.layer[layer].attention
        asking = x if n_queries is None else x[:, :n_queries]
        own = attention.self
        q, k, v = (
            split_heads(project(states), self._model.config.num_attention_heads)
            for project, states in ((own.query, asking), (own.key, x), (own.value, x))
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out: Tensor = attention.output(join_heads(mixed), asking)
        return out

    def feed(self, layer: int, x: Tensor) -> Tensor:
        """See `Blocks.feed`."""
        block = self._model.encoder.layer[layer]
        out: Tensor = block.output(block.intermediate(x), x)
        return out


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """[n, length, d] to [n, heads, length, d / heads]."""
    n, length, hidden_dim = x.shape
    return x.reshape(n, length, n_heads, hidden_dim // n_heads).transpose(1, 2)
