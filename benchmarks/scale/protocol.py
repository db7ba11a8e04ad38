"""Fill a vector store and query it, the same way for all; needs only numpy and a peer.

A folder holds ``rows.npy``, ``tenth.npy`` and ``queries.npy``, and gets the store. Medians are
reported with the least of all, since a busy machine adds to both.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.float32]
PER_WRITE = 1000
LIMIT = 10


class Peer(Protocol):
    """An open store."""

    def add(self, ids: Sequence[int], rows: Rows, tenth: Sequence[bool]) -> None:
        """Write unit rows, and for each whether it has the tag that a filter asks for."""

    def finish(self) -> None:
        """Finish the index, once all rows are written."""

    def nearest(self, query: Rows, tenth: bool) -> list[int]:
        """The ids of the nearest `LIMIT`, of all or of those with the tag."""


Opener: TypeAlias = Callable[[Path], Peer]


def main(openers: Mapping[str, Opener]) -> None:
    """``NAME fill|ask FOLDER``: print figures as JSON."""
    name, what, place = sys.argv[1:]
    folder = Path(place)
    found = _fill(openers[name], folder) if what == "fill" else _ask(openers[name], folder)
    print(json.dumps(found))


def _fill(opener: Opener, folder: Path) -> dict[str, Any]:
    rows, tenth = np.load(folder / "rows.npy"), np.load(folder / "tenth.npy")
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    store = opener(folder / "store")
    for start in range(0, len(rows), PER_WRITE):
        some = slice(start, start + PER_WRITE)
        numbers = range(start, min(start + PER_WRITE, len(rows)))
        store.add(numbers, rows[some], [bool(one) for one in tenth[some]])
    store.finish()
    wall_ms, cpu_ms = _since(begun_s, cpu_s)
    return {"fill": [cpu_ms / len(rows) * 1e3, wall_ms / len(rows) * 1e3]}


def _ask(opener: Opener, folder: Path) -> dict[str, Any]:
    rows, queries = np.load(folder / "rows.npy", mmap_mode="r"), np.load(folder / "queries.npy")
    tenth = np.load(folder / "tenth.npy")
    store = opener(folder / "store")
    store.nearest(queries[0], False)
    opened_cpu_ms = time.process_time() * 1e3
    plain, found = _asked(store, queries, tenth=False)
    filtered, found_tenth = _asked(store, queries, tenth=True)
    memory = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    return {
        "open": opened_cpu_ms,
        "plain": plain,
        "filter": filtered,
        "memory": int(memory[1]) / 1024 if memory else 0.0,
        "recall": _recall(np.asarray(rows), np.arange(len(rows)), queries, found),
        "recall of the filter": _recall(rows[tenth], np.flatnonzero(tenth), queries, found_tenth),
    }


def _asked(store: Peer, queries: Rows, *, tenth: bool) -> tuple[list[float], list[list[int]]]:
    """The median and least CPU and wall-clock times, in ms, and what was found."""
    taken, found = [], []
    for query in queries:
        begun_s, cpu_s = time.perf_counter(), time.process_time()
        found.append(store.nearest(query, tenth))
        taken.append(_since(begun_s, cpu_s))
    wall, cpu = zip(*taken, strict=True)
    return [median(cpu), min(cpu), median(wall), min(wall)], found


def _recall(rows: Rows, ids: NDArray[np.int64], queries: Rows, found: list[list[int]]) -> float:
    """The share of the exact nearest that were found; ties count."""
    shares = []
    for query, of_query in zip(queries, found, strict=True):
        products = rows @ query
        least = np.sort(products)[-LIMIT] - 1e-6
        places = np.searchsorted(ids, of_query)
        shares.append(np.count_nonzero(products[places] >= least) / LIMIT)
    return float(np.mean(shares))


def _since(begun_s: float, cpu_s: float) -> list[float]:
    return [(time.perf_counter() - begun_s) * 1e3, (time.process_time() - cpu_s) * 1e3]
