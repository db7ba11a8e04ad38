"""An index in this process over what a store's assets are called."""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Event, Lock, Thread

from search.errors import CancelledError, IndexNotReadyError, StoreError
from search.lexical.index import Text, WordIndex
from search.lexical.names import Names, match, names_of, split
from search.store.base import VectorStore

_LEAST_REST_S = 5.0
_FULL_S = 60.0
_SLOWDOWN = 20
_FIRST_WAIT_S = 2.0
MAX_NAMED = 50


class NameIndex:
    """Finds assets by the words of `search.lexical.names`. Safe to use from threads.

    It is made of the commit rows at the first search or by `begin`, in memory (about 400 bytes an
    asset). A thread reads them again when their number has changed and once a minute, a twentieth
    of the time at most. Searches wait for the first reading until it has taken two seconds.
    """

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._index: WordIndex | None = None
        self._names: dict[str, Names] = {}
        self._is_ready = Event()
        self._is_closed = Event()
        self._lock = Lock()
        self._next_s = 0.0
        self._next_full_s = 0.0
        self._awaited_until_s = float("inf")
        self._thread: Thread | None = None

    def find(self, text: str, *, with_folders: bool) -> Mapping[str, float]:
        """Ids of assets, 50 at most, and what part of the text their names hold.

        Args:
            text: what is searched for.
            with_folders: whether names of folders count, too: not for those who may not see paths.

        Raises:
            IndexNotReadyError: the names of a large library are still being read.
        """
        self.begin()
        if not self._is_ready.is_set():
            self._wait()
        if self._index is None:
            return {}
        found = self._index.find(split(text), MAX_NAMED)
        names = self._names
        parts = {
            one.segment_id: match(text, names[one.segment_id], with_folders=with_folders)
            for one in found
            if one.segment_id in names
        }
        return {asset_id: part for asset_id, part in parts.items() if part}

    def begin(self) -> None:
        """Read the names in a thread, if it is time."""
        with self._lock:
            self._awaited_until_s = min(self._awaited_until_s, time.monotonic() + _FIRST_WAIT_S)
            is_busy = self._thread is not None and self._thread.is_alive()
            if not is_busy and not self._is_closed.is_set() and time.monotonic() >= self._next_s:
                self._thread = Thread(target=self._read, name="names", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End a reading that is under way, and forget all."""
        self._is_closed.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()
        if self._index is not None:
            self._index.close()

    def _wait(self) -> None:
        if not self._is_ready.wait(max(0.0, self._awaited_until_s - time.monotonic())):
            raise IndexNotReadyError(
                "The names of files are still being read, so that nothing was found by them.",
                "Search again a little later.",
            )

    def _read(self) -> None:
        """A store that is away is said by the search itself, and read again later."""
        started_s = time.monotonic()
        try:
            if started_s >= self._next_full_s or self._store.count() != len(self._names):
                self._take(self._named())
                self._next_full_s = time.monotonic() + _FULL_S
        except (StoreError, CancelledError):
            pass
        ended_s = time.monotonic()
        with self._lock:
            self._next_s = ended_s + max(_LEAST_REST_S, _SLOWDOWN * (ended_s - started_s))
        self._is_ready.set()

    def _named(self) -> dict[str, Names]:
        """The names of all assets."""
        found = {}
        for row in self._store.scan():
            if self._is_closed.is_set():
                raise CancelledError("The search engine was closed.")
            if not row.is_gone:
                found[row.asset_id] = names_of(row)
        return found

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
