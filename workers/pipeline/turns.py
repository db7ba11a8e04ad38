"""Turns between shards that one process ingests, so that a long file holds up no other job."""

from __future__ import annotations

from collections import deque
from threading import Event, Lock
from types import TracebackType


class Turns:
    """Lets so many threads work at once, in the order in which they came.

    A thread works in a ``with`` block and calls `offer` wherever it can pause.
    """

    def __init__(self, at_once: int) -> None:
        self._lock = Lock()
        self._n_free = at_once
        self._waiting: deque[Event] = deque()

    def offer(self) -> None:
        """Let the thread that has waited longest go on, if any does, and wait behind the others."""
        if self._waiting:
            self.__exit__()
            self.__enter__()

    def __enter__(self) -> None:
        mine = Event()
        with self._lock:
            if self._n_free:
                self._n_free -= 1
                return
            self._waiting.append(mine)
        mine.wait()

    def __exit__(
        self,
        _kind: type[BaseException] | None = None,
        _error: BaseException | None = None,
        _trace: TracebackType | None = None,
    ) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._n_free += 1
