"""What the sparse forward needs to know of an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from encoder.dsre.fitting.cost import Shape


class Blocks(Protocol):
    """An encoder's layers, each cut in two: attention with its norm, then feed-forward."""

    @property
    def shape(self) -> Shape:
        """The numbers that decide what a token costs."""
        ...

    @property
    def vocab_size(self) -> int:
        """How many token ids there are."""
        ...

    def embed(self, input_ids: Tensor) -> Tensor:
        """The states that enter the first layer, [n, length, d]."""
        ...

    def attend(self, layer: int, x: Tensor, bias: Tensor, n_queries: int | None) -> Tensor:
        """Attention, residual and norm, for the first ``n_queries`` tokens (None: for all).

        ``bias`` [n, 1, 1, length] is added to the attention logits.
        """
        ...

    def feed(self, layer: int, x: Tensor) -> Tensor:
        """Feed-forward, residual and norm; each token by itself."""
        ...
