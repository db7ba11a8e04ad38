"""How long writers hold the lock of a store in a folder, and wait for it, in each operation.

    python -m benchmarks folder-lock [--segments 200000]

A store of random unit vectors with short texts. One process does every operation, in batches of 64
segments where they come in batches; a second one writes 64 segments four times a second.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count, islice
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, thread_time
from typing import NamedTuple

import numpy as np

from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from encoder.system.batched import in_batches
from encoder.types import TEXT
from search.store.checking import INDEX_WORDS, Findings
from search.store.folder.store import FolderStore
from search.store.lanes import Filling, StoredSpace, StoreLanes
from search.store.schema import segment_id
from search.types import AssetRow, SegmentRow

_N_SEGMENTS, _QUICK_SEGMENTS, _DIM = 200_000, 20_000, 384
_SEGMENTS_AT_ONCE, _PER_ASSET, _MANY_ASSETS = 64, 4, 250
_ASSETS_AT_ONCE = _SEGMENTS_AT_ONCE // _PER_ASSET
_TIMES, _QUICK_TIMES = 100, 10
_N_WORDS, _LEAST_WORDS, _MOST_WORDS = 20_000, 10, 40
_PAUSE_S = 0.25
_BAR = Bar(at_most=100)
_WORDS_FED = "words fed, after any of these"
_OURS, _OTHER = "ours", "other"
_HELD = ("operation", "times", "CPU-ms, p50", "CPU-ms, p99", "ms, p50", "ms, p99", "ms, longest")
_WAITED = ("who waits", "times", "ms, p50", "ms, p99", "ms, longest")

Row = tuple[AssetRow, list[SegmentRow]]
"""An asset with its segments."""


class Hold(NamedTuple):
    """A time for which the lock was held, by the clock and by the thread's own, and waited for."""

    waited_s: float
    held_s: float
    cpu_s: float


class TimedStore(FolderStore):
    """Notes each hold of the lock, by what is being done."""

    def __init__(self, folder: Path, space: str, filling: Filling | None = None) -> None:
        self.holds: dict[str, list[Hold]] = defaultdict(list)
        self.doing, self.afterwards = "opening", _WORDS_FED
        super().__init__(folder, StoreLanes(StoredSpace(space, _DIM), filling=filling))

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        asked_s = perf_counter()
        with super()._exclusively():
            is_outer, began_s, cpu_s = self._n_held == 1, perf_counter(), thread_time()
            yield
            cpu_s = thread_time() - cpu_s
        if is_outer:
            hold = Hold(began_s - asked_s, perf_counter() - began_s, cpu_s)
            self.holds[self.doing].append(hold)

    def _settle(self) -> None:
        doing, self.doing = self.doing, self.afterwards
        super()._settle()
        self.doing = doing

    def put(self, rows: Sequence[Row]) -> None:
        self.write([asset for asset, _ in rows], [one for _, some in rows for one in some])


class Texts:
    """Makes assets of short texts with random vectors, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
        words = np.random.default_rng(0).choice(letters, (_N_WORDS, 7))
        self._words = np.array(["".join(word) for word in words])
        self._ids = (f"{seed}-{number}" for number in count())

    def assets(self, n: int) -> list[Row]:
        """New ones, each of four segments."""
        return [self._asset(asset_id) for asset_id in islice(self._ids, n)]

    def _asset(self, asset_id: str) -> Row:
        path, facts = f"/texts/{asset_id}.txt", {"title": asset_id, "tags": ["new"]}
        asset = AssetRow(asset_id, TEXT, "text/plain", 1, {TEXT: _PER_ASSET}, [path], facts)
        return asset, self.segments(asset_id)

    def segments(self, asset_id: str, space: str = _OURS) -> list[SegmentRow]:
        """New ones of an asset."""
        vectors = self._rng.normal(size=(_PER_ASSET, _DIM)).astype(np.float32)
        keys = [segment_id(asset_id, TEXT, index, space) for index in range(_PER_ASSET)]
        return [
            SegmentRow(key, asset_id, TEXT, index, vector, snippet=self._text())
            for index, (key, vector) in enumerate(zip(keys, vectors, strict=True))
        ]

    def _text(self) -> str:
        n_words = self._rng.integers(_LEAST_WORDS, _MOST_WORDS)
        ranks = _N_WORDS * self._rng.random(n_words) ** 4  # a few words are frequent
        return " ".join(self._words[ranks.astype(int)])


def main(settings: Settings) -> None:
    """Fill a store, do everything with it, and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks folder-lock")
    n_usual = settings.items(_N_SEGMENTS, _QUICK_SEGMENTS)
    parser.add_argument("--segments", type=int, default=n_usual)
    n_segments = parser.parse_args(settings.words).segments
    processes = get_context("spawn")
    has_ended, waits = processes.Event(), processes.SimpleQueue()
    with TemporaryDirectory(prefix="folder-lock-") as name:
        folder, made = Path(name) / "store", Texts(1)
        with closing(TimedStore(folder, _OURS)) as store:
            ids = _filled(store, made, n_segments)
            store.holds.clear()
            beside = processes.Process(target=_write_beside, args=(folder, has_ended, waits))
            beside.start()
            try:
                held = _operations(store, folder, made, ids, settings.items(_TIMES, _QUICK_TIMES))
            finally:
                has_ended.set()
            waited = waits.get()
            beside.join()
            assert not store.check(lambda *_: None).wrong
        n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    here = [hold.waited_s for holds in held.values() for hold in holds]
    facts = f"{n_bytes / 1e6:.0f} MB at the end, load then {os.getloadavg()[0]:.1f}"
    report(
        settings,
        f"Search: how long a folder of {n_segments:,} segments is locked",
        f"Random vectors of {_DIM} dimensions with short texts; {facts}. The store was right.",
        table(_HELD, [_held(what, holds) for what, holds in held.items()]),
        table(_WAITED, [["the process of the table above", *_spread(here)],
                        ["one that writes 64 segments four times a second", *_spread(waited)]]),
    )  # fmt: skip


def _filled(store: TimedStore, made: Texts, n_segments: int) -> list[str]:
    """Write so many segments; the ids of their assets."""
    ids: list[str] = []
    while len(ids) * _PER_ASSET < n_segments:
        store.put(rows := made.assets(_MANY_ASSETS))
        ids += [asset.asset_id for asset, _ in rows]
    note(f"{len(ids)} assets")
    return ids


def _write_beside(folder: Path, has_ended: Event, waits: SimpleQueue[list[float]]) -> None:
    made = Texts(2)
    with closing(TimedStore(folder, _OURS)) as store:
        while not has_ended.wait(_PAUSE_S):
            store.put(made.assets(_ASSETS_AT_ONCE))
        waits.put([hold.waited_s for holds in store.holds.values() for hold in holds])


def _operations(
    store: TimedStore, folder: Path, made: Texts, ids: Sequence[str], n_times: int
) -> dict[str, list[Hold]]:
    """The holds of each operation, one after the other."""
    left = iter(ids)
    batches = [list(islice(left, _ASSETS_AT_ONCE)) for _ in range(n_times)]
    store.doing = "64 new segments"
    for _ in batches:
        store.put(made.assets(_ASSETS_AT_ONCE))
    rows = store.assets([asset_id for batch in batches for asset_id in batch])
    store.doing = "64 segments again"
    for batch in batches:
        store.put([(rows[asset_id], made.segments(asset_id)) for asset_id in batch])
    store.doing = "tags of 64 assets"
    for some in in_batches(list(rows.values()) * 4, _SEGMENTS_AT_ONCE):
        tagged = (replace(row, metadata={**row.metadata, "tags": ["x"]}) for row in some)
        store.write(list(tagged), [])
    note(store.doing)
    store.doing = "constants"
    for _ in batches:
        store.recalibrate({}, {})
    store.doing = "repair of nothing"
    for _ in batches:
        store.repair(Findings())
    note(store.doing)
    store.doing = "segments of 16 assets removed"
    for batch in batches:
        store.empty(batch)
    store.doing = "deletion of 16 assets"
    for batch in batches:
        store.delete(batch)
    note(store.doing)
    kept = list(left)
    some_rows = list(store.assets(kept[: len(kept) // 4]).values())
    with closing(TimedStore(folder, _OTHER, Filling(frozenset({TEXT})))) as other:
        other.doing = "64 segments of a lane that is filled"
        n_small = n_times * _ASSETS_AT_ONCE
        for rows_at_once in in_batches(some_rows[:n_small], _ASSETS_AT_ONCE):
            other.put([(row, made.segments(row.asset_id, _OTHER)) for row in rows_at_once])
        other.doing = "1,000 segments of a lane that is filled"
        for rows_at_once in in_batches(some_rows[n_small:], _MANY_ASSETS):
            other.put([(row, made.segments(row.asset_id, _OTHER)) for row in rows_at_once])
        other.holds.pop("opening", None)
    note(other.doing)
    store.doing = "a lane dropped, in steps of 1,024 segments"
    store.drop(_OTHER, TEXT)
    note(store.doing)
    store.doing, store.afterwards = "deletion of 250 assets", "rows moved, in steps of 1,024"
    store.delete(kept[: 5 * len(kept) // 8])
    note(store.doing)
    store.doing = "words made anew"
    store.repair(Findings(wrong={INDEX_WORDS: {"": ""}}))
    note(store.doing)
    for what, holds in other.holds.items():
        store.holds[what] += holds
    return store.holds


def _held(what: str, holds: Sequence[Hold]) -> list[object]:
    n, *clock = _spread([hold.held_s for hold in holds])
    cpu = _spread([hold.cpu_s for hold in holds])[1:3]
    p99 = float(np.percentile([1e3 * hold.held_s for hold in holds], 99))
    return [what, n, *cpu, clock[0], _BAR.beside(p99, ".1f"), clock[2]]


def _spread(seconds: Sequence[float]) -> list[object]:
    """Number, median, 99th percentile and greatest, in ms."""
    ms = 1e3 * np.array(seconds)
    return [len(ms), *(f"{value:.1f}" for value in (*np.percentile(ms, (50, 99)), ms.max()))]
