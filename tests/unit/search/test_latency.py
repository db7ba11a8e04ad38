from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest

from search.latency import LatencyTracker, StageTimer


def test_a_timer_adds_up_its_stages_and_the_total() -> None:
    ticks = count(0.0, 1.0)
    timer = StageTimer(clock=lambda: next(ticks))
    for name in ("encode_text", "search", "search"):
        with timer.stage(name):
            pass
    assert timer.latency_s() == {"encode_text": 1.0, "search": 2.0, "total": 7.0}


def test_a_stage_that_fails_is_timed_too() -> None:
    timer = StageTimer()
    with pytest.raises(ZeroDivisionError), timer.stage("fetch"):
        _ = 1 / 0
    assert set(timer.latency_s()) == {"fetch", "total"}


def test_percentiles_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).exponential(size=500)
    tracker = LatencyTracker()
    for value in values:
        tracker.record({"total": float(value)})
    found = tracker.percentiles()["total"]
    assert found.n == 500
    assert [found.p50_s, found.p90_s, found.p95_s, found.p99_s] == pytest.approx(
        np.percentile(values, [50, 90, 95, 99]).tolist()
    )
    assert found.max_s == values.max()


def test_a_tracker_forgets_what_left_the_window() -> None:
    tracker = LatencyTracker(window=10)
    for value in [1000.0] * 5 + [1.0] * 10:
        tracker.record({"search": value})
    assert tracker.percentiles()["search"].max_s == 1.0
    assert tracker.percentiles()["search"].n == 10


def test_a_new_tracker_has_no_stages() -> None:
    assert LatencyTracker().percentiles() == {}


def test_threads_lose_no_value() -> None:
    tracker = LatencyTracker(window=10_000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: tracker.record({"total": float(i)}), range(4000)))
    assert tracker.percentiles()["total"].n == 4000
