"""Count the processor time that networks take for a piece of work, and the tokens of its texts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from time import thread_time


class Meter:
    """Seconds of processor time and tokens, added up by several threads.

    Attributes:
        tokens: of texts, without padding.
        kept: those that are left after the last layer, where a gate merges some.
    """

    def __init__(self) -> None:
        self.cpu_s, self.tokens, self.kept = 0.0, 0.0, 0.0
        self._lock = Lock()

    def add(self, cpu_s: float) -> None:
        """Count some more."""
        with self._lock:
            self.cpu_s += cpu_s

    def read(self, tokens: float, kept: float) -> None:
        """Count the tokens of some texts."""
        with self._lock:
            self.tokens += tokens
            self.kept += kept


_meter: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def metered(meter: Meter | None) -> Iterator[None]:
    """Count what networks take within the block; None counts nothing."""
    token = _meter.set(meter)
    try:
        yield
    finally:
        _meter.reset(token)


def current_meter() -> Meter | None:
    """What counts this work, if anything."""
    return _meter.get()


@contextmanager
def running(n_threads: int) -> Iterator[None]:
    """Count a network's run in so many threads, of which this is one."""
    meter = _meter.get()
    began_s = thread_time()
    try:
        yield
    finally:
        if meter:
            meter.add((thread_time() - began_s) * n_threads)
