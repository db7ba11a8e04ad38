"""What stores without tables of names, dates and counts answer by reading their commit rows."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from threading import Lock

from encoder.system.batched import in_batches
from search.errors import CancelledError
from search.filters import Filter
from search.lexical.index import FoundText, IndexedText, WordIndex
from search.lexical.names import text_of
from search.store.overview import Dated, Facets, Order, counted_first, newest_of
from search.types import AssetRow

_FULL_S = 60.0
_AT_ONCE = 2000


class Scanning(ABC):
    """The part of a `VectorStore` that asks all commit rows. Safe to use from threads.

    Of names, a hash is kept by which changes are detected. They are read again when their number
    has changed, and once a minute.
    """

    has_overview = False

    def __init__(self) -> None:
        self._reading_names = Lock()
        self._names: WordIndex | None = None
        self._known_names: dict[str, int] = {}
        self._next_names_s = 0.0

    @abstractmethod
    def scan(self, filter: Filter | None = None) -> Iterator[AssetRow]:
        """See `VectorStore.scan`."""

    @abstractmethod
    def count(self, filter: Filter | None = None) -> int:
        """See `VectorStore.count`."""

    def facets(self, filter: Filter | None) -> Facets:
        return counted_first(self.scan(filter))

    def newest(
        self,
        filter: Filter | None,
        limit: int,
        after: Dated,
        reverse: bool = False,
        by: Order = "date",  # noqa: ARG002
    ) -> list[Dated]:
        return newest_of(self.scan(filter), limit, after, reverse)

    def named(self, text: str, limit: int) -> Sequence[FoundText]:
        return self._names.find(text, limit) if self._names else []

    def read_names(self, is_unwanted: Callable[[], bool]) -> None:
        with self._reading_names:
            n_known = len(self._known_names)
            if time.monotonic() < self._next_names_s and self.count() == n_known:
                return
            index = self._names or WordIndex()
            hashes: dict[str, int] = {}
            for some in in_batches(self._renamed(hashes, is_unwanted), _AT_ONCE):
                index.add(map(text_of, some))
            gone_ids = self._known_names.keys() - hashes.keys()
            index.add(IndexedText(asset_id, "", "") for asset_id in gone_ids)
            index.commit()
            self._names, self._known_names = index, hashes
            self._next_names_s = time.monotonic() + _FULL_S

    def _renamed(
        self, hashes: dict[str, int], is_unwanted: Callable[[], bool]
    ) -> Iterator[AssetRow]:
        """Assets whose names have changed; adds the hashes of all assets to ``hashes``."""
        for row in self.scan():
            if is_unwanted():
                raise CancelledError("The search engine was closed.")
            if not row.is_gone:
                hashes[row.asset_id] = mark = hash(repr((row.locations, row.metadata)))
                if self._known_names.get(row.asset_id) != mark:
                    yield row
