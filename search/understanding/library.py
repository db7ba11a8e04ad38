"""The names of places that a library has, read in the background."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import takewhile
from threading import Event, Lock, Thread

from search.errors import StoreError
from search.filters import parse_filter
from search.store.base import VectorStore
from search.understanding.places import known_names

_REST_S = 60.0
_SLOWDOWN = 20
_FIRST_WAIT_S = 1.0
_LOCATED = parse_filter({"field": "latitude", "gte": -90})


class LibraryPlaces:
    """Names of places, as of a minute ago, or longer if reading them takes more than 3 s.

    Safe to use from threads. Queries wait for the first reading, for up to a second.
    """

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._names: Mapping[str, str] = {}
        self._awaited_until_s = float("inf")
        self._is_ready = Event()
        self._is_closed = Event()
        self._lock = Lock()
        self._next_s = 0.0
        self._thread: Thread | None = None

    def names(self) -> Mapping[str, str]:
        """As `find_place` takes them."""
        self.begin()
        self._is_ready.wait(max(0.0, self._awaited_until_s - time.monotonic()))
        return self._names

    def begin(self) -> None:
        """Read them in a thread, if it is time."""
        with self._lock:
            self._awaited_until_s = min(self._awaited_until_s, time.monotonic() + _FIRST_WAIT_S)
            is_busy = self._thread is not None and self._thread.is_alive()
            if not is_busy and not self._is_closed.is_set() and time.monotonic() >= self._next_s:
                self._thread = Thread(target=self._read, name="places", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End a reading that is under way."""
        self._is_closed.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _read(self) -> None:
        """Read the names; the search itself reports an unreachable store."""
        started_s = time.monotonic()
        try:
            rows = takewhile(lambda _: not self._is_closed.is_set(), self._store.scan(_LOCATED))
            names_read = {str(name) for row in rows for name in _list(row.metadata.get("places"))}
            self._names = known_names(names_read)
        except StoreError:
            pass
        ended_s = time.monotonic()
        with self._lock:
            self._next_s = ended_s + max(_REST_S, _SLOWDOWN * (ended_s - started_s))
        self._is_ready.set()


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []
