"""What is timed on a filled store."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.scale.corpus import DAY_S, FIRST_DAY, PHOTOS, SPACE, Corpus, GivenVectors
from encoder.types import IMAGE, TEXT, Item
from search import Query, open_store
from search.api.routers.assets import _page
from search.engine import SearchEngine
from search.errors import IndexNotReadyError
from search.filters import parse_filter
from search.store.base import VectorStore
from workers.pipeline.removal import remove

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


def open_filled(uri: str, corpus: Corpus, folder: Path) -> dict[str, float]:
    """Fill a store, and the figures of that."""
    with _opened(uri) as store:
        seconds = corpus.fill(store)
    time.sleep(_SETTLE_S)  # a server builds indexes
    return {
        "fill, µs a segment": seconds / corpus.n_segments * 1e6,
        "disk, MB": _disk_bytes(folder) / 2**20,
        "memory of the server, MB": _server_bytes(folder) / 2**20,
    }


def measured(uri: str, corpus: Corpus, folder: Path) -> dict[str, float]:
    """All figures of a store that was filled before."""
    begun_s = time.perf_counter()
    with _opened(uri) as store:
        opened_s = time.perf_counter()
        queries = corpus.queries(200)
        engine = SearchEngine(GivenVectors(queries), store)  # type: ignore[arg-type]
        found = {"open": (opened_s - begun_s) * 1e3}
        words = corpus.words(N_TIMES + 1)
        engine.search(_query(f"0 {words[0]}"))
        found["first query after it, with words"] = (time.perf_counter() - opened_s) * 1e3
        found["until words are found, s"] = _until_words(store, words[0], opened_s)
        found["plain"] = _median(lambda n: engine.search(_query(f"{n}", lexical=False)))
        for name, data in _FILTERS.items():
            filter = parse_filter(data)
            found[name] = _median(
                lambda n, filter=filter: engine.search(_query(f"{n}", lexical=False, filter=filter))
            )
        found["words"] = _median(lambda n: engine.search(_query(f"{n} {words[n]}")))
        tenth = parse_filter(_FILTERS["filter, 10 %: a tag"])
        found["words, filter of 10 %"] = _median(
            lambda n: engine.search(_query(f"{n} {words[n]}", filter=tenth))
        )
        found[f"page {_LAST_PAGE} of {_PAGE}"] = _last_page(engine)
        found["list 100 in the middle"] = _median(lambda _: _listed(store))
        found["delete one file"] = _median(lambda n: _delete(store, n), 3)
        found["recall of plain at 10"] = _recall(store, corpus)
        engine.close()
        found["memory of the server after it, MB"] = _server_bytes(folder) / 2**20
    return found


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


def _median(look: Callable[[int], object], times: int = N_TIMES) -> float:
    """Milliseconds."""
    seconds: list[float] = []
    for number in range(times):
        begun_s = time.perf_counter()
        look(number)
        seconds.append(time.perf_counter() - begun_s)
        if sum(seconds) > SLOW_S:
            break
    return median(seconds) * 1e3


def _until_words(store: Any, words: str, begun_s: float) -> float:
    while True:
        with suppress(IndexNotReadyError):
            if store.lexical(words, 1):
                return time.perf_counter() - begun_s
        time.sleep(0.1)


def _last_page(engine: SearchEngine) -> float:
    query = _query("0", lexical=False)
    seconds = 0.0
    for _ in range(_LAST_PAGE):
        begun_s = time.perf_counter()
        result = engine.search(query)
        seconds = time.perf_counter() - begun_s
        if not result.next_cursor:
            break
        query = _query("0", lexical=False, cursor=result.next_cursor)
    return seconds * 1e3


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
            is_it = (path / "cwd").readlink() == folder
            if is_it and (size := re.search(r"VmRSS:\s+(\d+)", (path / "status").read_text())):
                return int(size[1]) * 1024
        except OSError:
            continue
    return 0
