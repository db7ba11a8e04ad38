"""Values that leave memory when nobody has used them for a while."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, Timer
from time import monotonic
from typing import Any, Generic, TypeVar
from weakref import finalize, ref

from encoder.system.allocator import give_back

REST_S = 600.0
"""The default. A network opens again in about .1 CPU-seconds, and its weights are mapped."""

T = TypeVar("T")


class Resting(Generic[T]):
    """Holds what ``load`` makes when it is needed, until it has not been used for ``after_s``.

    Safe in threads: one loads, and others wait for it. A load that fails raises its error to the
    caller, and the next caller tries again. Whoever has got the value may keep it meanwhile.
    """

    def __init__(self, load: Callable[[], T], after_s: float = REST_S) -> None:
        self._load, self._after_s = load, after_s
        self._lock = Lock()
        self._value: T | None = None
        self._used_s = 0.0
        self._end_timer: finalize[[], Resting[T]] | None = None

    def get(self) -> T:
        """The value; it is loaded if it is not there."""
        self._used_s = monotonic()
        value = self._value
        if value is None:
            with self._lock:
                if self._value is None:
                    self._value = self._loaded()
                    self._wait(self._after_s)
                value = self._value
        return value

    def _loaded(self) -> T:
        return self._load()

    def _wait(self, seconds: float) -> None:
        """Look again later, unless nobody holds this by then."""
        timer = Timer(seconds, _rest, (ref(self),))
        timer.daemon = True
        timer.start()
        if self._end_timer:
            self._end_timer.detach()
        self._end_timer = finalize(self, timer.cancel)

    def rest(self) -> None:
        """Let go of the value if it was not used for long enough."""
        with self._lock:
            left_s = self._used_s + self._after_s - monotonic()
            if left_s > 0:
                self._wait(left_s)
                return
            self._value = None
        give_back()


def _rest(resting: ref[Resting[Any]]) -> None:
    if (alive := resting()) is not None:
        alive.rest()
