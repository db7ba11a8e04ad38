"""DistilBERT (Sanh et al. 2019): a BERT with different names."""

from __future__ import annotations

from torch import Tensor, nn

from encoder.dsre.adapters.base import HfBlocks
from encoder.dsre.cost import Shape

MODEL_TYPES = ("distilbert",)


def adapt(model: nn.Module) -> DistilBertBlocks | None:
    """The blocks of a DistilBERT; None for anything else."""
    kind = getattr(getattr(model, "config", None), "model_type", None)
    known = kind in MODEL_TYPES and hasattr(model, "transformer")
    return DistilBertBlocks(model) if known else None


class DistilBertBlocks(HfBlocks):
    """See `encoder.dsre.adapters.base.Blocks`."""

    @property
    def shape(self) -> Shape:
        """See `Blocks.shape`."""
        config = self._model.config
        return Shape(config.n_layers, config.dim, config.hidden_dim)

    @property
    def narrows(self) -> bool:
        """See `Blocks.narrows`."""
        return False

    def embed(self, input_ids: Tensor) -> Tensor:
        """See `Blocks.embed`."""
        states: Tensor = self._model.embeddings(input_ids)
        return states

    def attend(self, layer: int, x: Tensor, bias: Tensor, n_queries: int | None) -> Tensor:
        """See `Blocks.attend`."""
        block = self._model.transformer.layer[layer]
        mixed, _ = block.attention(x, attention_mask=bias)
        out: Tensor = block.sa_layer_norm(mixed + x)
        return out[:, :n_queries]

    def feed(self, layer: int, x: Tensor) -> Tensor:
        """See `Blocks.feed`."""
        block = self._model.transformer.layer[layer]
        out: Tensor = block.output_layer_norm(block.ffn(x) + x)
        return out
