"""Dynamic micro-batches: what several threads want encoded at the same time is encoded together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from encoder.space import Space
from encoder.types import Embeddings, Item, Modality
from search.terms import ItemEncoder
from search.together import Together

Observe = Callable[[Modality, int], None]


class BatchingEncoder:
    """An `ItemEncoder` for many threads; when it batches is told in `search.together`.

    Args:
        encoder: does the work; safe to use from threads.
        max_items: the most that is encoded at once, unless one call alone holds more.
        wait_s: the longest that a batch waits for company.
        observe: told of each batch: its modality and how many items it holds.
    """

    def __init__(
        self,
        encoder: ItemEncoder,
        *,
        max_items: int = 32,
        wait_s: float = 0.002,
        observe: Observe = lambda _modality, _n: None,
    ) -> None:
        self._encoder = encoder
        self._observe = observe
        self._encode_together: Together[Modality, Item, Embeddings] = Together(
            self._encode, max_items=max_items, wait_s=wait_s
        )

    @property
    def space(self) -> Space:
        """The space of the embeddings."""
        return self._encoder.space

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        """Mixed items to unit rows [len(items), embed_dim], in their order."""
        rows = np.empty((len(items), self.space.embed_dim), np.float32)
        for modality in dict.fromkeys(item.modality for item in items):
            places = [place for place, item in enumerate(items) if item.modality == modality]
            rows[places] = self._encode_together(modality, [items[place] for place in places])
        return rows

    def n_waiting(self, modality: Modality) -> int:
        """How many calls wait for the batch of this modality that runs."""
        return self._encode_together.n_waiting(modality)

    def _encode(self, modality: Modality, items: Sequence[Item]) -> Sequence[Embeddings]:
        rows = self._encoder.encode_items(items)
        self._observe(modality, len(items))
        return list(rows)
