"""Our own `encoder.networks.bert.SentenceBert`."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from encoder.dsre.adapters.base import Blocks
from encoder.dsre.cost import Shape
from encoder.networks.bert import BertLayer, SentenceBert


def adapt(model: nn.Module) -> SentenceBertBlocks | None:
    """The blocks of a `SentenceBert`; None for anything else."""
    return SentenceBertBlocks(model) if isinstance(model, SentenceBert) else None


class SentenceBertBlocks(Blocks):
    """See `encoder.dsre.adapters.base.Blocks`."""

    def __init__(self, model: SentenceBert) -> None:
        self._model = model

    @property
    def shape(self) -> Shape:
        """See `Blocks.shape`."""
        ffn = self._layer(0).ffn_in
        return Shape(len(self._model.layers), ffn.in_features, ffn.out_features)

    @property
    def vocab_size(self) -> int:
        """See `Blocks.vocab_size`."""
        return self._model.word.num_embeddings

    def embed(self, input_ids: Tensor) -> Tensor:
        """See `Blocks.embed`."""
        return self._model.embed(input_ids)

    def attend(self, layer: int, x: Tensor, bias: Tensor, n_queries: int | None) -> Tensor:
        """See `Blocks.attend`."""
        return self._layer(layer).attend(x, bias, n_queries)

    def feed(self, layer: int, x: Tensor) -> Tensor:
        """See `Blocks.feed`."""
        return self._layer(layer).feed(x)

    def _layer(self, layer: int) -> BertLayer:
        return cast(BertLayer, self._model.layers[layer])
