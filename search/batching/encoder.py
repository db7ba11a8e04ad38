"""Dynamic micro-batches: what several threads want encoded at the same time is encoded together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from encoder.space import Space
from encoder.types import DOCUMENT, Embeddings, Item, Modality, Role
from search.batching.coalescing import Together
from search.query.terms import ItemEncoder

Observe = Callable[[Modality, int], None]
Lane = tuple[Modality, Role, bool]

_LONG_CHARS = 2000
"""A longer text is encoded in windows, which takes from tens of milliseconds to seconds."""


class BatchingEncoder:
    """An `ItemEncoder` for many threads; `search.batching.coalescing` describes the batching.

    Long texts have batches of their own, so that no short query waits for them, and so have queries
    where they are encoded in another way than documents.

    Args:
        encoder: does the work; safe to use from threads.
        max_items: the most that is encoded at once, unless one call alone holds more.
        wait_s: the longest that a batch waits for company.
        observe: called with each batch's modality and number of items.
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
        self._encode_together: Together[Lane, Item, Embeddings] = Together(
            self._encode, max_items=max_items, wait_s=wait_s
        )

    @property
    def space(self) -> Space:
        """The space of the embeddings."""
        return self._encoder.space

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        """Mixed items to unit rows [len(items), embed_dim], in their order."""
        rows = np.empty((len(items), self.space.embed_dim), np.float32)
        lanes = [self._lane(item) for item in items]
        for lane in dict.fromkeys(lanes):
            places = [place for place, own in enumerate(lanes) if own == lane]
            rows[places] = self._encode_together(lane, [items[place] for place in places])
        return rows

    def n_waiting(self, modality: Modality, role: Role = DOCUMENT) -> int:
        """How many calls wait for the batch of this kind that runs, long texts aside."""
        return self._encode_together.n_waiting((modality, role, False))

    def _encode(self, lane: Lane, items: Sequence[Item]) -> Sequence[Embeddings]:
        rows = self._encoder.encode_items(items)
        self._observe(lane[0], len(items))
        return list(rows)

    def _lane(self, item: Item) -> Lane:
        is_long = isinstance(item.content, str) and len(item.content) > _LONG_CHARS
        return item.modality, self.space.role_of(item), is_long
