"""Find assets by their names, which a thread has the store read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from search.errors import IndexNotReadyError
from search.lexical.names import NameQuery, names_in, split
from search.store.base import VectorStore
from search.store.rereading import Rereading

_LEAST_REST_S = 5.0
MAX_NAMED = 50
_MAX_CHARS = 1000
"""No name holds a part of a longer text that counts."""


class NameIndex(Rereading):
    """Finds assets by the words of `search.lexical.names`. Safe to use from threads."""

    def __init__(self, store: VectorStore) -> None:
        super().__init__("names", _LEAST_REST_S)
        self._store = store

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
            for name_hit in self._store.named(split(text), MAX_NAMED)
        }
        return {asset_id: fraction for asset_id, fraction in parts.items() if fraction}

    def holding(self, words: str, limit: int) -> list[str]:
        """Ids of the assets whose names hold most of some words; none before they are read."""
        self.begin()
        name_hits = self._store.named(words, limit) if self.is_read() else ()
        return [name_hit.segment_id for name_hit in name_hits]

    def read(self, is_unwanted: Callable[[], bool]) -> None:
        """Bring the index up to date."""
        self._store.read_names(is_unwanted)
