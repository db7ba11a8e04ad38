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


def test_percentiles_are_within_a_percent_of_numpys() -> None:
    values = np.random.default_rng(0).exponential(size=5000)
    tracker = LatencyTracker()
    for value in values:
        tracker.record({"total": float(value)})
    found = tracker.percentiles()["total"]
    assert found.n == 5000
    assert [found.p50_s, found.p90_s, found.p95_s, found.p99_s] == pytest.approx(
        np.percentile(values, [50, 90, 95, 99], method="inverted_cdf").tolist(), rel=0.0101
    )
    assert found.max_s == values.max()


def test_windows_forget_what_is_older() -> None:
    now = [0.0]
    tracker = LatencyTracker(clock=lambda: now[0])
    for now[0], value in ((10_000.0, 1000.0), (10_050.0, 10.0), (10_100.0, 1.0)):
        tracker.record({"search": value})
    assert tracker.percentiles(30)["search"].max_s == 1.0
    assert tracker.percentiles(60)["search"].n == 2
    assert tracker.percentiles(300)["search"].n == 3
    now[0] += 400
    assert tracker.percentiles(300) == {}
    assert tracker.percentiles(3600)["search"].n == 3
    now[0] += 3600
    assert tracker.percentiles(3600) == {}


def test_modalities_are_counted_apart_and_together() -> None:
    tracker = LatencyTracker()
    tracker.record({"total": 1.0}, "text")
    tracker.record({"total": 3.0}, "image")
    found = tracker.by_modality()
    assert {kind: stages["total"].n for kind, stages in found.items()} == {
        "text": 1,
        "image": 1,
        "": 2,
    }
    assert tracker.percentiles(modality="image")["total"].max_s == 3.0


def test_memory_does_not_grow_with_the_requests() -> None:
    now = [0.0]
    tracker = LatencyTracker(clock=lambda: now[0])
    for now[0] in np.arange(0, 3 * 3600, 0.5):
        tracker.record({"total": 0.02})
    assert len(tracker._fine._slices) <= 61
    assert len(tracker._coarse._slices) <= 61
    assert tracker.percentiles(60)["total"].n == pytest.approx(120, abs=10)


def test_threads_lose_no_value() -> None:
    tracker = LatencyTracker()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: tracker.record({"total": float(i)}), range(4000)))
    assert tracker.percentiles()["total"].n == 4000
