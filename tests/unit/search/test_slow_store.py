"""No search outlasts its deadline, whatever its filter and whichever call of the store is slow."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event, Thread, current_thread
from typing import Any

import numpy as np
import pytest

from encoder.space import Space
from encoder.types import IMAGE, TEXT, Item
from search import Deadline, Query, SearchEngine
from search.errors import TimeLimitError
from search.filters import Filter, parse_filter
from search.latency import LatencyTracker, StageTimer
from search.store.memory import MemoryStore
from search.store.schema import segment_id
from search.types import AssetRow, SegmentRow
from tests.support.encoders import Alike

ENCODER = Alike(Space(2, {"model": "vectors"}))
FILTERS = [
    None,
    {"field": "tags", "contains": "rare"},
    {"field": "path", "contains": "nowhere"},
    {"not": {"field": "path", "prefix": "/data/"}},
]


class Unfiltered(MemoryStore):
    """Knows of no filter when it searches, so that all other ways have to be tried."""

    def _wanted(self, asset_ids: Any, _filter: Filter | None) -> set[str] | None:
        return super()._wanted(asset_ids, None)


class SlowStore(Unfiltered):
    """Answers to one kind of call only when it is let go, which is after the test."""

    in_process = False

    def __init__(self, slow: str) -> None:
        super().__init__(2)
        self.let_go = Event()
        for number in range(40):
            name = f"a{number:02}"
            vector = np.array([1, number], np.float32)
            key = segment_id(name, IMAGE, 0, "f")
            asset = AssetRow(name, IMAGE, "image/png", 1, {IMAGE: 1}, [f"/data/{name}"])
            self.write([asset], [SegmentRow(key, name, IMAGE, 0, vector)])
        call = getattr(self, slow)

        def wait(*args: Any, **options: Any) -> Any:
            assert self.let_go.wait(60)
            return call(*args, **options)

        setattr(self, slow, wait)


@pytest.mark.parametrize("slow", ["search", "assets", "count", "select", "lexical"])
@pytest.mark.parametrize("data", FILTERS, ids=str)
def test_a_search_of_a_slow_store_ends_in_time(slow: str, data: object) -> None:
    store = SlowStore(slow)
    filter = parse_filter(data) if data else None
    engine = SearchEngine(ENCODER, store)
    query = Query([Item(TEXT, "sea")], limit=5, filter=filter)
    needed = slow in ("search", "assets", "lexical") or data is not None
    try:
        if needed:
            with pytest.raises(TimeLimitError):
                engine.search(query, Deadline(0.2))
        else:
            assert len(engine.search(query, Deadline(30)).hits) == 5
    finally:
        store.let_go.set()
        engine.close()


@pytest.mark.parametrize("data", FILTERS[1:], ids=str)
def test_with_a_filter_a_slow_store_in_this_process_ends_in_time(data: object) -> None:
    store = SlowStore("search")
    store.in_process = True
    engine = SearchEngine(ENCODER, store)
    try:
        with pytest.raises(TimeLimitError):
            engine.search(Query([Item(TEXT, "sea")], filter=parse_filter(data)), Deadline(0.2))
    finally:
        store.let_go.set()
        engine.close()


@pytest.mark.parametrize("in_process", [True, False])
def test_a_store_in_this_process_is_searched_without_threads(in_process: bool) -> None:
    class Noting(SlowStore):
        def search(self, *args: Any, **options: Any) -> Any:
            threads.add(current_thread())
            return super().search(*args, **options)

    threads = set[Thread]()
    store = Noting("ping")
    store.in_process = in_process
    engine = SearchEngine(ENCODER, store)
    assert len(engine.search(Query([Item(TEXT, "sea")], limit=5), Deadline(30)).hits) == 5
    engine.close()
    assert (threads == {current_thread()}) is in_process


def test_reading_the_assets_of_a_filter_stops_with_the_search() -> None:
    class Endless(Unfiltered):
        n_read = 0

        def select(self, *_: Any, **__: Any) -> Iterator[str]:
            while True:
                self.n_read += 1
                yield f"a{self.n_read}"

        def count(self, _filter: Filter | None = None) -> int:
            return 0

    now_s = iter(np.arange(0.0, 1e6))
    store = Endless(2)
    deadline = Deadline(1000, clock=lambda: float(next(now_s)))
    engine = SearchEngine(ENCODER, store)
    vector = np.array([1, 0], np.float32)
    rows = [SegmentRow(f"s{n}", f"b{n}", IMAGE, 0, vector) for n in range(60)]
    store.write([], rows)
    with pytest.raises(TimeLimitError):
        engine.search(Query([Item(TEXT, "sea")], filter=parse_filter(FILTERS[3])), deadline)
    assert 0 < store.n_read < 1000
    engine.close()


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


def test_threads_lose_no_value() -> None:
    tracker = LatencyTracker()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: tracker.record({"total": float(i)}), range(4000)))
    assert tracker.percentiles()["total"].n == 4000
