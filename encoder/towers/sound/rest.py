"""Weights that leave memory while nobody uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Timer


class Rest:
    """Puts something away that has not been used for a while, and gets it back for the next use.

    Uses may overlap, in any threads; the first after a rest waits for ``wake``, and so do others.

    Args:
        put_away: called from a separate thread when nothing is in use; returns whether it is away
            now. If it is not, this is called again later.
        wake: called before the first use after that; if it fails, so does the use, and the next
            one tries again.
        after_s: seconds without a use.
    """

    def __init__(
        self, put_away: Callable[[], bool], wake: Callable[[], object], after_s: float
    ) -> None:
        self._put_away, self._wake, self._after_s = put_away, wake, after_s
        self._lock = Lock()
        self._n_users, self._is_away = 0, False
        self._timer: Timer | None = None

    @contextmanager
    def use(self) -> Iterator[None]:
        """Keep it awake in this block."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    def _begin(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._is_away:
                self._wake()
                self._is_away = False
            self._n_users += 1

    def _end(self) -> None:
        with self._lock:
            self._n_users -= 1
            if not self._n_users:
                self._wait()

    def _wait(self) -> None:
        self._timer = Timer(self._after_s, self._begin_rest)
        self._timer.daemon = True
        self._timer.start()

    def _begin_rest(self) -> None:
        with self._lock:
            if self._n_users or self._is_away:
                return
            self._is_away = self._put_away()
            if not self._is_away:
                self._wait()
