"""Fair times on a shared machine: one core, candidates taking turns, medians and their spread."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_LOW, _HIGH = 10, 90


@dataclass(frozen=True)
class Times:
    """What was measured, one row per candidate: ``seconds`` float64 [n_candidates, n_rounds]."""

    names: tuple[str, ...]
    seconds: NDArray[np.float64]

    def median_ms(self, name: str) -> float:
        """The middle time of a candidate."""
        return float(np.median(self._of(name)) * 1e3)

    def speedup(self, name: str, baseline: str) -> Ratio:
        """How many times faster than ``baseline``, from the ratio within each round.

        A slow phase of the machine hits both parts of a pair, so the ratios spread less than
        the times.
        """
        ratios = self._of(baseline) / self._of(name)
        low, middle, high = np.percentile(ratios, [_LOW, 50, _HIGH])
        return Ratio(float(middle), float(low), float(high))

    def _of(self, name: str) -> NDArray[np.float64]:
        row: NDArray[np.float64] = self.seconds[self.names.index(name)]
        return row


@dataclass(frozen=True)
class Ratio:
    """A median and the range that holds the middle 80 % of the rounds.

    >>> str(Ratio(2.5, 2.41, 2.63))
    '2.50 (2.41–2.63)'
    """

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def take_turns(
    candidates: Mapping[str, Callable[[], object]],
    *,
    n_rounds: int = 30,
    n_warm_up: int = 3,
    clock: Callable[[], float] = time.perf_counter,
    seed: int = 0,
) -> Times:
    """Time the candidates in rounds; each round runs all of them, in random order.

    Pin the process first (`on_one_core`), and set each runtime to one thread.

    Args:
        candidates: by name; they need no argument.
        n_rounds: how often each is timed.
        n_warm_up: how often each runs before (compilation, caches).
        clock: in seconds; `time.process_time` ignores what other processes take.
        seed: of the order.
    """
    for run in candidates.values():
        for _ in range(n_warm_up):
            run()
    names = tuple(candidates)
    seconds = np.zeros((len(names), n_rounds))
    order = np.random.default_rng(seed)
    for i in range(n_rounds):
        for row in order.permutation(len(names)):
            start = clock()
            candidates[names[row]]()
            seconds[row, i] = clock() - start
    return Times(names, seconds)


@contextmanager
def on_one_core() -> Iterator[int]:
    """Pin all threads of this process to the last core that it may use; yields its number."""
    before = os.sched_getaffinity(0)
    core = max(before)
    _pin({core})
    try:
        yield core
    finally:
        _pin(before)


def _pin(cores: set[int]) -> None:
    # threads that exist already keep their own mask
    for task in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), cores)
        except ProcessLookupError:  # it has ended in the meantime
            continue
