"""What the sparse forward needs to know about an encoder."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from encoder.dsre.cost import Shape
from encoder.dsre.merge import Matching


class Blocks(Protocol):
    """An encoder's layers, each cut in two: attention, then feed-forward; with their norms."""

    @property
    def shape(self) -> Shape:
        """The numbers that determine what a token costs."""
        ...

    @property
    def vocab_size(self) -> int:
        """How many token ids there are."""
        ...

    @property
    def matching(self) -> Matching:
        """Which tokens may merge."""
        return Matching()

    @property
    def narrows(self) -> bool:
        """Whether `attend` saves time where there are few queries."""
        return True

    def embed(self, input_ids: Tensor) -> Tensor:
        """The states that enter the first layer, [n, length, d].

        Columns after ``matching.width`` are for the adapter's own use, such as positions.
        """
        ...

    def attend(self, layer: int, x: Tensor, bias: Tensor, n_queries: int | None) -> Tensor:
        """Attention, residual and norm, for the first ``n_queries`` tokens (None: for all).

        ``bias`` [n, 1, 1, length] is added to the attention logits.
        """
        ...

    def feed(self, layer: int, x: Tensor) -> Tensor:
        """Feed-forward, residual and norm; each token by itself."""
        ...

    def finish(self, x: Tensor) -> Tensor:
        """Whatever comes after the last layer and before the pooling, [n, length, embed_dim]."""
        return x


class HfBlocks(Blocks):
    """The blocks of a Hugging Face transformers model."""

    def __init__(self, model: nn.Module) -> None:
        self._model: Any = model

    @property
    def shape(self) -> Shape:
        config = self._model.config
        return Shape(config.num_hidden_layers, config.hidden_size, config.intermediate_size)

    @property
    def vocab_size(self) -> int:
        return int(self._model.config.vocab_size)


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """[n, length, d] to [n, heads, length, d / heads]."""
    n, length, hidden_dim = x.shape
    return x.reshape(n, length, n_heads, hidden_dim // n_heads).transpose(1, 2)


def join_heads(mixed: Tensor) -> Tensor:
    """Attention's output [n, n_heads, length, head_dim] to [n, length, n_heads * head_dim]."""
    rows = mixed.transpose(1, 2)
    if torch.compiler.is_exporting():
        # the exporter cannot see that a view will do where the length depends on the data
        rows = rows.clone(memory_format=torch.contiguous_format)
    return rows.flatten(2)


def with_positions(states: Tensor) -> Tensor:
    """States [n, length, d] with one more column: each token's position in its text."""
    n, length, _ = states.shape
    positions = torch.arange(length, device=states.device, dtype=states.dtype)
    return torch.cat([states, positions[None, :, None].expand(n, length, 1)], 2)
