"""Where the time of a request goes, and what it comes to over many requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from time import perf_counter

import numpy as np

TOTAL = "total"


class StageTimer:
    """Times the stages of one request; one thread uses it.

    >>> timer = StageTimer()
    >>> with timer.stage("encode_text"):
    ...     pass
    >>> list(timer.latency_s())
    ['encode_text', 'total']
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._started = clock()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of this block to a stage, whether or not it raises."""
        started = self._clock()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + self._clock() - started

    def latency_s(self) -> dict[str, float]:
        """Seconds per stage, in the order of their first use, and ``total`` since the start."""
        return {**self._seconds, TOTAL: self._clock() - self._started}


@dataclass(frozen=True)
class Percentiles:
    """Of the last ``n`` values, in seconds."""

    n: int
    p50_s: float
    p90_s: float
    p95_s: float
    p99_s: float
    max_s: float


class LatencyTracker:
    """The last values of each stage, and their percentiles. Safe to use from threads.

    A plain window is exact and forgets. A histogram (HDR, t-digest) would save memory that
    1,000 numbers per stage do not need, and cannot forget old values.

    Args:
        window: how many of the last values of each stage count.
    """

    def __init__(self, window: int = 1000) -> None:
        self._window = window
        self._values: dict[str, deque[float]] = {}
        self._lock = Lock()

    def record(self, latency_s: Mapping[str, float]) -> None:
        """Add the stages of one request."""
        with self._lock:
            for stage, seconds in latency_s.items():
                self._values.setdefault(stage, deque(maxlen=self._window)).append(seconds)

    def percentiles(self) -> dict[str, Percentiles]:
        """Percentiles by stage."""
        with self._lock:
            copies = {stage: list(values) for stage, values in self._values.items()}
        return {stage: _percentiles(values) for stage, values in copies.items()}


def _percentiles(values: list[float]) -> Percentiles:
    p50, p90, p95, p99 = np.percentile(values, [50, 90, 95, 99]).tolist()
    return Percentiles(len(values), p50, p90, p95, p99, max(values))
