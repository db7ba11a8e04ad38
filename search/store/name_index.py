"""An index of the names of a store's assets: the store's own, or one in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from encoder.system.batched import in_batches
from search.errors import CancelledError, IndexNotReadyError
from search.lexical.index import FoundText, IndexedText, WordIndex
from search.lexical.names import NameQuery, names_in, split, text_of
from search.store.base import VectorStore
from search.store.rereading import Rereading
from search.types import AssetRow

_LEAST_REST_S = 5.0
_FULL_S = 60.0
_AT_ONCE = 2000
MAX_NAMED = 50
_MAX_CHARS = 1000
"""No name holds a part of a longer text that counts."""


@runtime_checkable
class KeepsNames(Protocol):
    """A store with an index of names."""

    def read_names(self, is_unwanted: Callable[[], bool]) -> None:
        """Bring the index behind `named` up to date.

        Args:
            is_unwanted: whether to stop early; called from time to time.
        """

    def named(self, text: str, limit: int) -> Sequence[FoundText]:
        """Ids of the assets whose `search.lexical.names.text_of` fits best, and their notes."""


class NameIndex(Rereading):
    """Finds assets by the words of `search.lexical.names`. Safe to use from threads."""

    def __init__(self, store: VectorStore) -> None:
        super().__init__("names", _LEAST_REST_S)
        self._source = store if isinstance(store, KeepsNames) else NamesInMemory(store)

    def find(self, text: str, *, with_folders: bool) -> Mapping[str, float]:
        """Ids of at most 50 assets, and the fraction of the text that their names hold.

        Args:
            text: what is searched for.
            with_folders: whether names of folders count too; not for users who may not see paths.

        Raises:
            IndexNotReadyError: the names of a large library are still being read.
        """
        self.begin()
        if len(text) > _MAX_CHARS:
            return {}
        if not self.is_read():
            raise IndexNotReadyError(
                "File names are still being read, so nothing was found by name.",
                "Search again later.",
            )
        query = NameQuery(text)
        parts = {
            name_hit.segment_id: query.match(names_in(name_hit.note), with_folders=with_folders)
            for name_hit in self._source.named(split(text), MAX_NAMED)
        }
        return {asset_id: fraction for asset_id, fraction in parts.items() if fraction}

    def holding(self, words: str, limit: int) -> list[str]:
        """Ids of the assets whose names hold most of some words; none before they are read."""
        self.begin()
        name_hits = self._source.named(words, limit) if self.is_read() else ()
        return [name_hit.segment_id for name_hit in name_hits]

    def read(self, is_unwanted: Callable[[], bool]) -> None:
        """Bring the index up to date."""
        self._source.read_names(is_unwanted)


class NamesInMemory:
    """The names of a store that keeps no index of them, from its commit rows.

    Of each, a hash is kept by which changes are detected. They are read again when their number has
    changed, and once a minute.
    """

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._index: WordIndex | None = None
        self._known: dict[str, int] = {}
        self._next_full_s = 0.0

    def named(self, text: str, limit: int) -> Sequence[FoundText]:
        return self._index.find(text, limit) if self._index else []

    def read_names(self, is_unwanted: Callable[[], bool]) -> None:
        if time.monotonic() < self._next_full_s and self._store.count() == len(self._known):
            return
        index = self._index or WordIndex()
        hashes: dict[str, int] = {}
        changed = self._changed(hashes, is_unwanted)
        for some in in_batches(changed, _AT_ONCE):
            index.add(map(text_of, some))
        index.add(IndexedText(gone, "", "") for gone in self._known.keys() - hashes.keys())
        index.commit()
        self._index, self._known = index, hashes
        self._next_full_s = time.monotonic() + _FULL_S

    def _changed(
        self, hashes: dict[str, int], is_unwanted: Callable[[], bool]
    ) -> Iterator[AssetRow]:
        """Assets whose names have changed; adds the hashes of all assets to ``hashes``."""
        for row in self._store.scan():
            if is_unwanted():
                raise CancelledError("The search engine was closed.")
            if not row.is_gone:
                hashes[row.asset_id] = mark = hash(repr((row.locations, row.metadata)))
                if self._known.get(row.asset_id) != mark:
                    yield row
