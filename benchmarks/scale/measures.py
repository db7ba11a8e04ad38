"""What is timed on a filled store."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.scale.corpus import DAY_S, FIRST_DAY, PHOTOS, SPACE, Corpus, GivenVectors
from benchmarks.scale.index_alone import IndexAlone
from encoder.types import IMAGE, TEXT, Item
from search import Query, open_store
from search.api.routers.assets import _page
from search.engine import SearchEngine
from search.errors import IndexNotReadyError
from search.filters import parse_filter
from search.store.base import VectorStore
from search.store.embedded.store import EmbeddedStore
from workers.pipeline.library.removal import remove

Figure: TypeAlias = list[float]
"""Milliseconds on the clock and of this process's CPU, or a single number."""
Figures: TypeAlias = dict[str, Figure]
N_TIMES = 9
SLOW_S = 5.0
_SETTLE_S = 20.0
_PAGE = 20
_LAST_PAGE = 60
_FILTERS: dict[str, Any] = {
    "filter, .1 %: a tag": {"field": "tags", "contains": "rare"},
    "filter, 10 %: a tag": {"field": "tags", "contains": "tenth"},
    "filter, 50 %: a tag": {"field": "tags", "contains": "half"},
    "filter, 56 %: the path begins with": {"field": "path", "prefix": PHOTOS},
    "filter, 10 %: dates": {
        "field": "modified",
        "gte": (FIRST_DAY + 400) * DAY_S,
        "lt": (FIRST_DAY + 500) * DAY_S,
    },
    "filter, 56 %: pictures": {"field": "modality", "eq": "image"},
}


def filled(uri: str, n_segments: int, folder: Path, kind: str) -> Figures:
    """Fill a store, and the figures of that."""
    corpus = Corpus(n_segments)
    with _opened(uri) as store:
        target = IndexAlone(cast(EmbeddedStore, store)) if kind == "index" else store
        writes = np.array(list(corpus.fill(target)))
    if kind == "server":
        time.sleep(_SETTLE_S)  # it builds indexes
    tenths = np.array_split(writes, 10)
    return {
        "fill, µs a segment": _per_segment(writes),
        "the first tenth of it": _per_segment(tenths[0]),
        "the last tenth of it": _per_segment(tenths[-1]),
        "disk, MB": [_disk_bytes(folder) / 2**20],
        "memory of the server, MB": [_server_bytes(folder) / 2**20],
    }


def _per_segment(writes: NDArray[np.float64]) -> Figure:
    n, wall_s, cpu_s = writes.sum(axis=0)
    return [wall_s / n * 1e6, cpu_s / n * 1e6]


def measured(uri: str, n_segments: int, folder: Path) -> Iterator[Figures]:
    """All figures of a store that was filled before, as they come."""
    corpus = Corpus(n_segments)
    queries, words = corpus.queries(200), corpus.words(N_TIMES + 1)
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    with _opened(uri) as store:
        opened_s = time.perf_counter()
        yield {"open": _since(begun_s, cpu_s)}
        engine = SearchEngine(GivenVectors(queries), store)  # type: ignore[arg-type]
        cpu_s = time.process_time()
        engine.search(_query(f"0 {words[0]}"))
        yield {
            "first query after it, with words": _since(opened_s, cpu_s),
            "until words are found, s": [_until_words(store, words[0], opened_s)],
            "until names are, s": [_until_names(engine, words[0], opened_s)],
        }
        yield from _searches(engine, words)
        yield {
            f"page {_LAST_PAGE} of {_PAGE}": _last_page(engine),
            "list 100 in the middle": _median(lambda _: _listed(store)),
            "memory of the searching process, MB": [_memory_bytes("self") / 2**20],
            "memory of the server after it, MB": [_server_bytes(folder) / 2**20],
        }
        yield {"first delete of a file": _median(lambda n: _delete(store, n), 1)}
        yield {"delete one file": _median(lambda n: _delete(store, n + 1), 3)}
        yield {"recall of plain at 10": [_recall(store, corpus)]}
        engine.close()


def _searches(engine: SearchEngine, words: Sequence[str]) -> Iterator[Figures]:
    def each(**options: Any) -> Figure:
        return _median(lambda n: engine.search(_query(f"{n}", lexical=False, **options)))

    filters = {name: parse_filter(data) for name, data in _FILTERS.items()}
    yield {"plain": each()}
    for name, filter in filters.items():
        begun_s, cpu_s = time.perf_counter(), time.process_time()
        engine.search(_query("0", lexical=False, filter=filter))
        yield {f"{name}, first": _since(begun_s, cpu_s), name: each(filter=filter)}
    tenth = filters["filter, 10 %: a tag"]
    with_words = [_query(f"{n} {two}") for n, two in enumerate(words)]
    filtered = [replace(query, filter=tenth) for query in with_words]
    yield {"words": _median(lambda n: engine.search(with_words[n]))}
    yield {"words, filter of 10 %": _median(lambda n: engine.search(filtered[n]))}


@contextmanager
def _opened(uri: str) -> Iterator[VectorStore]:
    store = open_store(
        uri, SPACE.fingerprint, SPACE.embed_dim, calibration=SPACE.calibration, timeout_s=120
    )
    try:
        yield store
    finally:
        store.close()


def _query(text: str, **options: Any) -> Query:
    return Query([Item(TEXT, text)], limit=_PAGE, **options)


def _median(look: Callable[[int], object], times: int = N_TIMES) -> Figure:
    taken: list[Figure] = []
    for number in range(times):
        begun_s, cpu_s = time.perf_counter(), time.process_time()
        look(number)
        taken.append(_since(begun_s, cpu_s))
        if sum(wall_ms for wall_ms, _ in taken) > SLOW_S * 1e3:
            break
    return [median(of) for of in zip(*taken, strict=True)]


def _since(begun_s: float, cpu_s: float) -> Figure:
    return [(time.perf_counter() - begun_s) * 1e3, (time.process_time() - cpu_s) * 1e3]


def _until_words(store: Any, words: str, begun_s: float) -> float:
    while True:
        with suppress(IndexNotReadyError):
            if store.lexical(words, 1):
                return time.perf_counter() - begun_s
        time.sleep(0.1)


def _until_names(engine: SearchEngine, words: str, begun_s: float) -> float:
    """They are read in the background, which would count as the CPU of searches."""
    while engine.search(_query(f"0 {words}")).warnings:
        time.sleep(0.5)
    return time.perf_counter() - begun_s


def _last_page(engine: SearchEngine) -> Figure:
    query = _query("0", lexical=False)
    taken: Figure = []
    for _ in range(_LAST_PAGE):
        begun_s, cpu_s = time.perf_counter(), time.process_time()
        result = engine.search(query)
        taken = _since(begun_s, cpu_s)
        if not result.next_cursor:
            break
        query = _query("0", lexical=False, cursor=result.next_cursor)
    return taken


def _listed(store: VectorStore) -> object:
    """As ``GET /v1/assets`` does."""

    class Services:
        pass

    services: Any = Services()
    services.store = store
    return _page(services, None, 100, "80000000")


def _delete(store: VectorStore, number: int) -> None:
    row = store.assets(list(store.select(None, limit=1, after=f"{number + 1}")))
    (asset,) = row.values()
    remove(store, asset.locations[0])


def _recall(store: VectorStore, corpus: Corpus) -> float:
    """Of the ten nearest pictures, against all of them."""
    queries = corpus.queries(50)
    every = store.sample(IMAGE, 10**9)[:, 0]
    if len(every) * 2 < corpus.n_segments * 0.5:  # a server answers 16,384 rows at most
        return float("nan")
    nearest = np.sort(queries @ every.T, axis=1)[:, -10:]
    found = store.search(queries, IMAGE, 10)
    hits = [
        sum(hit.cosine >= low - 1e-5 for hit in of)
        for of, low in zip(found, nearest[:, 0], strict=True)
    ]
    return float(np.mean(hits) / 10)


def _disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _server_bytes(folder: Path) -> float:
    """Resident memory of the server that runs in a folder; 0 without one."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cwd").readlink() == folder:
                return _memory_bytes(path.name)
        except OSError:
            continue
    return 0


def _memory_bytes(pid: str) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0
