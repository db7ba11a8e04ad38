"""Times of the stages of requests, and their percentiles over many requests."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic, perf_counter
from typing import TypeAlias

TOTAL = "total"
ALL = ""
"""Stands for the requests of all modalities together."""

_GROWTH = 1.02
_LOG_GROWTH = math.log(_GROWTH)
_LEAST_S = 1e-6

# Windows up to 5 minutes are made of slices of 5 s, longer ones of slices of a minute.
_FINE_S, _N_FINE = 5.0, 61
_COARSE_S, _N_COARSE = 60.0, 61
_LONGEST_FINE_S = 300.0

Key: TypeAlias = tuple[str, str]
"""A modality, and a stage."""


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
    """Percentiles of ``n`` values, in seconds: within 1 % of the exact ones, the maximum exact."""

    n: int
    p50_s: float
    p90_s: float
    p95_s: float
    p99_s: float
    max_s: float


@dataclass
class Histogram:
    """Counts of values in buckets, each 2 % wider than the one before.

    As in an HDR histogram, the relative error is the same for microseconds and minutes. The
    counts are sparse, so that a slice of time in which little happened takes little memory.
    """

    counts: Counter[int] = field(default_factory=Counter)
    max_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[_bucket(seconds)] += 1
        self.max_s = max(self.max_s, seconds)

    def merge(self, other: Histogram) -> None:
        self.counts.update(other.counts)
        self.max_s = max(self.max_s, other.max_s)

    def percentiles(self) -> Percentiles:
        """The percentiles of at least one value."""
        buckets = sorted(self.counts.items())
        n = sum(count for _, count in buckets)

        def at(share: float) -> float:
            rank, n_below = math.ceil(share * n), 0
            for bucket, count in buckets:
                n_below += count
                if n_below >= rank:
                    return min(_middle_s(bucket), self.max_s)
            return self.max_s

        return Percentiles(n, at(0.5), at(0.9), at(0.95), at(0.99), self.max_s)


def _bucket(seconds: float) -> int:
    return int(math.log(max(seconds, _LEAST_S) / _LEAST_S) / _LOG_GROWTH)


def _middle_s(bucket: int) -> float:
    return float(_LEAST_S * _GROWTH ** (bucket + 0.5))


class _Slices:
    """The most recent slices of time, each with histograms by key."""

    def __init__(self, slice_s: float, n_slices: int) -> None:
        self._slice_s = slice_s
        self._n_slices = n_slices
        self._slices: dict[int, dict[Key, Histogram]] = {}

    def now(self, now_s: float) -> dict[Key, Histogram]:
        """The slice of this moment; those that are too old are dropped."""
        number = int(now_s / self._slice_s)
        if number not in self._slices:
            self._slices[number] = defaultdict(Histogram)
            for old in [n for n in self._slices if n <= number - self._n_slices]:
                del self._slices[old]
        return self._slices[number]

    def within(self, window_s: float, now_s: float) -> dict[Key, Histogram]:
        first = int((now_s - window_s) / self._slice_s) + 1
        merged: dict[Key, Histogram] = defaultdict(Histogram)
        for number, histograms in self._slices.items():
            if number >= first:
                for key, histogram in histograms.items():
                    merged[key].merge(histogram)
        return merged


class LatencyTracker:
    """Percentiles of each stage over sliding windows of up to an hour. Safe to use from threads.

    Counting a request takes some 20 microseconds, and memory does not grow with their number. The
    histograms are our own: those of the package hdrhistogram are arrays of a fixed size, 12 KB for
    each slice, stage and modality, most of it zeros, which would add up to 100 MB.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._fine = _Slices(_FINE_S, _N_FINE)
        self._coarse = _Slices(_COARSE_S, _N_COARSE)
        self._lock = Lock()

    def record(self, latency_s: Mapping[str, float], modality: str = ALL) -> None:
        """Add the stages of one request."""
        now_s = self._clock()
        with self._lock:
            for histograms in (self._fine.now(now_s), self._coarse.now(now_s)):
                for stage, seconds in latency_s.items():
                    histograms[modality, stage].add(seconds)

    def percentiles(self, window_s: float = 3600.0, modality: str = ALL) -> dict[str, Percentiles]:
        """Percentiles by stage, of one modality's requests or of all."""
        return self.by_modality(window_s).get(modality, {})

    def by_modality(self, window_s: float = 3600.0) -> dict[str, dict[str, Percentiles]]:
        """Percentiles by modality and stage; those of all requests together under `ALL`."""
        slices = self._fine if window_s <= _LONGEST_FINE_S else self._coarse
        with self._lock:
            merged = slices.within(window_s, self._clock())
        together: dict[str, dict[str, Histogram]] = defaultdict(lambda: defaultdict(Histogram))
        for (modality, stage), histogram in merged.items():
            for group in {modality, ALL}:
                together[group][stage].merge(histogram)
        return {
            group: {stage: histogram.percentiles() for stage, histogram in stages.items()}
            for group, stages in together.items()
        }


SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    300,
    1800,
)
"""From a query's stage to a shard of films."""

ITEMS = (1, 2, 4, 8, 16, 32, 64, 128)
"""How many things were done at once."""
