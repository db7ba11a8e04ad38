"""What the sparse forward needs to know about an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from encoder.dsre.merge import Matching

if TYPE_CHECKING:
    from torch import Tensor, nn

    from encoder.dsre.cost import Shape


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
    """The blocks of a Hugging Face transformers model.

    Args:
        model: its ``config`` specifies the sizes.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model: Any = model

    @property
    def vocab_size(self) -> int:
        """See `Blocks.vocab_size`."""
        return int(self._model.config.vocab_size)
