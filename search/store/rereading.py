"""Data that a thread reads from a store at intervals, while searches use the last reading."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread

from search.errors import CancelledError, StoreError

_SLOWDOWN = 20
_FIRST_WAIT_S = 1.0


class Rereading(ABC):
    """Calls `read` in a thread, and again after a pause of twenty times as long as it took.

    Safe to use from threads.

    Args:
        name: the thread's.
        least_rest_s: the shortest pause.
    """

    def __init__(self, name: str, least_rest_s: float) -> None:
        self._name = name
        self._least_rest_s = least_rest_s
        self._is_ready = Event()
        self._is_closed = Event()
        self._lock = Lock()
        self._next_s = 0.0
        self._awaited_until_s = float("inf")
        self._thread: Thread | None = None

    @abstractmethod
    def read(self, is_unwanted: Callable[[], bool]) -> None:
        """Read; ``is_unwanted`` says whether to stop early."""

    def begin(self) -> None:
        """Read in a thread, if it is time."""
        with self._lock:
            self._awaited_until_s = min(self._awaited_until_s, time.monotonic() + _FIRST_WAIT_S)
            is_busy = self._thread is not None and self._thread.is_alive()
            if not is_busy and not self._is_closed.is_set() and time.monotonic() >= self._next_s:
                self._thread = Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def is_read(self) -> bool:
        """Whether it was read once, which is waited for in the first second after `begin`."""
        return self._is_ready.wait(max(0.0, self._awaited_until_s - time.monotonic()))

    def close(self) -> None:
        """Stop a reading that is under way."""
        self._is_closed.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        """The search itself reports an unreachable store, which is read again later."""
        started_s = time.monotonic()
        with suppress(StoreError, CancelledError, OSError, ValueError):
            self.read(self._is_closed.is_set)
        ended_s = time.monotonic()
        with self._lock:
            self._next_s = ended_s + max(self._least_rest_s, _SLOWDOWN * (ended_s - started_s))
        self._is_ready.set()
