"""The constants of a collection, as many threads read them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, cast

from encoder.space import Calibration
from encoder.types import IMAGE
from search.store.calibrated import StoredCalibration
from search.store.milvus.calibration import MilvusCalibration
from search.store.milvus.link import MilvusLink
from search.store.milvus.rows import MilvusRows
from search.store.schema import calibration_property, segments_collection

STATE = StoredCalibration({IMAGE: Calibration(0.1, 0.2)})
N_THREADS = 8


class CountedLink:
    """A server that describes its collection, takes a while, and counts how often."""

    is_lite = True

    def __init__(self) -> None:
        self.n_calls = 0

    def call(self, *_: str) -> dict[str, Any]:
        self.n_calls += 1
        time.sleep(0.05)
        return {"properties": calibration_property(STATE)}


def test_one_thread_reads_them_for_all() -> None:
    link = CountedLink()
    segments = segments_collection(8)
    rows = MilvusRows(cast(MilvusLink, link), {segments.kind: "segments"}, segments)
    calibration = MilvusCalibration(rows, is_alone=False)
    assert link.n_calls == 1
    calibration._read_at_s = -1e9
    ready = Barrier(N_THREADS)

    def read(_: int) -> StoredCalibration:
        ready.wait(60)
        return calibration.current()

    with ThreadPoolExecutor(N_THREADS) as threads:
        found = list(threads.map(read, range(N_THREADS)))
    assert [one.constants for one in found] == [STATE.constants] * N_THREADS
    assert link.n_calls == 2
