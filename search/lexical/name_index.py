"""An index in this process over what a store's assets are called."""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Event, Lock, Thread

from search.errors import StoreError
from search.lexical.index import Text, WordIndex
from search.lexical.names import Names, match, names_of, split
from search.store.base import VectorStore

_LEAST_REST_S = 5.0
_SLOWDOWN = 20
_FIRST_WAIT_S = 2.0
MAX_NAMED = 50


class NameIndex:
    """Finds assets by the words of `search.lexical.names`. Safe to use from threads.

    It is made of the commit rows at the first search, in memory (about 400 bytes an asset), and
    read again in a thread at most a twentieth of the time: a renamed file is found by its new name
    5 seconds later in a library that is read in a quarter of a second. The first search waits two
    seconds for it at most.
    """

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._index: WordIndex | None = None
        self._names: dict[str, Names] = {}
        self._is_ready = Event()
        self._lock = Lock()
        self._next_s = 0.0
        self._thread: Thread | None = None

    def find(self, text: str, *, with_folders: bool) -> Mapping[str, float]:
        """Ids of assets, 50 at most, and what part of the text their names hold.

        Args:
            text: what is searched for.
            with_folders: whether names of folders count, too: not for those who may not see paths.
        """
        self._refresh()
        if not self._is_ready.wait(_FIRST_WAIT_S) or self._index is None:
            return {}
        found = self._index.find(split(text), MAX_NAMED)
        names = self._names
        parts = {
            one.segment_id: match(text, names[one.segment_id], with_folders=with_folders)
            for one in found
            if one.segment_id in names
        }
        return {asset_id: part for asset_id, part in parts.items() if part}

    def close(self) -> None:
        """Wait for a reading that is under way, and forget all."""
        with self._lock:
            thread, self._next_s = self._thread, float("inf")
        if thread is not None:
            thread.join()
        if self._index is not None:
            self._index.close()

    def _refresh(self) -> None:
        with self._lock:
            is_busy = self._thread is not None and self._thread.is_alive()
            if not is_busy and time.monotonic() >= self._next_s:
                self._thread = Thread(target=self._read, name="names", daemon=True)
                self._thread.start()

    def _read(self) -> None:
        """A store that is away is said by the search itself, and read again later."""
        started_s = time.monotonic()
        try:
            now = {row.asset_id: names_of(row) for row in self._store.scan() if not row.is_gone}
        except StoreError:
            now = None
        if now is not None:
            self._take(now)
        ended_s = time.monotonic()
        with self._lock:
            self._next_s = max(
                self._next_s, ended_s + max(_LEAST_REST_S, _SLOWDOWN * (ended_s - started_s))
            )
        self._is_ready.set()

    def _take(self, now: dict[str, Names]) -> None:
        index = self._index or WordIndex(in_memory=True)
        index.remove(self._names.keys() - now.keys())
        index.add(
            Text(asset_id, asset_id, " ".join(names.own | names.folders))
            for asset_id, names in now.items()
            if self._names.get(asset_id) != names
        )
        index.commit()
        self._index, self._names = index, now
