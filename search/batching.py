"""Dynamic micro-batches: what several threads want encoded at the same time is encoded together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Event
from time import monotonic

import numpy as np

from encoder.errors import AnymodalError
from encoder.space import Space
from encoder.types import Embeddings, Item, Modality
from search.terms import ItemEncoder

Observe = Callable[[Modality, int], None]


@dataclass(eq=False)
class _Call:
    """What one thread wants, and what becomes of it."""

    items: Sequence[Item]
    woken: Event = field(default_factory=Event)
    leads: bool = False
    rows: Embeddings | None = None
    error: Exception | None = None


class BatchingEncoder:
    """An `ItemEncoder` for many threads.

    Whoever comes while nothing runs begins at once. Whoever comes meanwhile waits for the batch
    that runs, and is then encoded together with all who wait. Only after a batch of several does
    the next wait for as many again, ``wait_s`` at most, for they tend to come back together.

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
        self._lanes: dict[Modality, _Lane] = defaultdict(
            lambda: _Lane(encoder, max_items, wait_s, observe)
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
            lane = self._lanes[modality]
            rows[places] = lane.encode([items[place] for place in places])
        return rows


class _Lane:
    """The calls for one modality: one thread leads a batch, the others wait for it."""

    def __init__(
        self, encoder: ItemEncoder, max_items: int, wait_s: float, observe: Observe
    ) -> None:
        self._encoder = encoder
        self._max_items = max_items
        self._wait_s = wait_s
        self._observe = observe
        self._waiting: list[_Call] = []
        self._changed = Condition()
        self._busy = False
        self._company = 1

    def encode(self, items: Sequence[Item]) -> Embeddings:
        call = _Call(items)
        with self._changed:
            self._waiting.append(call)
            call.leads = not self._busy
            self._busy = True
            self._changed.notify_all()
        if not call.leads:
            call.woken.wait()
        if call.leads:
            self._lead()
        if call.error is not None:
            raise call.error
        assert call.rows is not None
        return call.rows

    def _lead(self) -> None:
        """Encode a batch; the caller's own call is its first."""
        batch: list[_Call] = []
        try:
            batch = self._gather()
            self._encode(batch)
        finally:
            self._hand_over()
            for call in batch:
                call.woken.set()

    def _gather(self) -> list[_Call]:
        until = monotonic() + self._wait_s
        with self._changed:
            while len(self._waiting) < self._company and (left_s := until - monotonic()) > 0:
                self._changed.wait(left_s)
            n_items = n_calls = 0
            for call in self._waiting:
                n_items += len(call.items)
                if n_calls and n_items > self._max_items:
                    break
                n_calls += 1
            batch, self._waiting = self._waiting[:n_calls], self._waiting[n_calls:]
            self._company = n_calls
            return batch

    def _hand_over(self) -> None:
        with self._changed:
            self._busy = bool(self._waiting)
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].woken.set()

    def _encode(self, batch: Sequence[_Call]) -> None:
        """Together; if that fails, one by one, so that a bad item harms only its own call."""
        items = [item for call in batch for item in call.items]
        try:
            rows = self._encoder.encode_items(items)
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            if not isinstance(error, AnymodalError):
                raise
            for call in batch:
                self._encode([call])
            return
        self._observe(items[0].modality, len(items))
        start = 0
        for call in batch:
            call.rows = rows[start : start + len(call.items)]
            start += len(call.items)
