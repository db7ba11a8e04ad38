"""What is timed on a filled store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.timing import peak_resident_bytes, resident_bytes
from benchmarks.scale.clock import (
    N_TIMES,
    Figure,
    Moment,
    median_of,
    server_of,
)
from benchmarks.scale.corpus import DAY_S, FIRST_DAY, PHOTOS, SPACE, Corpus, GivenVectors
from encoder.types import IMAGE, TEXT, Embeddings, Item
from search import Query, open_store
from search.api.routers.assets import _page
from search.engine import SearchEngine
from search.errors import IndexNotReadyError
from search.filters import parse_filter
from search.store.base import VectorStore
from search.store.milvus.store import MilvusStore
from workers.pipeline.commit_rows import remove

Figures: TypeAlias = dict[str, Figure]
_NEAREST = "nearest.npy"
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
    """Fill a store; the figures of filling it."""
    corpus = Corpus(n_segments)
    with _opened(uri) as store:
        server = server_of(folder)
        writes = np.array([[n, *taken] for n, taken in corpus.fill(store, server)])
    np.save(folder / _NEAREST, Corpus(n_segments).nearest_pictures(corpus.queries(50), 10))
    if kind == "server":
        time.sleep(_SETTLE_S)  # it builds indexes
    tenths = np.array_split(writes, 10)
    return {
        "fill, µs a segment": _per_segment(writes),
        "the first tenth of it": _per_segment(tenths[0]),
        "the last tenth of it": _per_segment(tenths[-1]),
        "disk, MB": [_disk_bytes(folder) / 2**20],
        "memory of the server, MB": _server_mb(folder),
    }


def _per_segment(writes: NDArray[np.float64]) -> Figure:
    n, *taken_ms = writes.sum(axis=0)
    return [one / n * 1e3 for one in taken_ms]


def opened_first(uri: str, n_segments: int) -> Figures:
    """Figures of the first process that searches: it has no index of words yet."""
    corpus = Corpus(n_segments)
    queries, words = corpus.queries(1), corpus.words(1)
    begun = Moment()
    with _opened(uri) as store:
        engine = SearchEngine(GivenVectors(queries), store)  # type: ignore[arg-type]
        engine.search(_query(f"0 {words[0]}"))
        first = {"first process of all: open and first query": begun.passed()}
        _until_words(store, words[0])
        first["first process of all: until words are found"] = begun.passed()
        engine.close()
    return first


def measured(uri: str, n_segments: int, folder: Path) -> Iterator[Figures]:
    """All figures of a store that is filled already, as they come."""
    corpus, server = Corpus(n_segments), server_of(folder)
    queries, words = corpus.queries(200), corpus.words(N_TIMES + 1)
    begun = Moment(server)
    with _opened(uri) as store:
        yield {"open": begun.passed()}
        engine = SearchEngine(GivenVectors(queries), store)  # type: ignore[arg-type]
        begun = Moment(server)
        engine.search(_query(f"0 {words[0]}"))
        first = begun.passed()
        _until_words(store, words[0])
        until_words = begun.passed()
        _until_names(engine, words[0])
        yield {
            "first query after it, with words": first,
            "until words are found, s": [until_words[0] / 1e3],
            "until names are, s": [begun.passed()[0] / 1e3],
        }
        yield from _searches(engine, words, server)
        yield {
            f"page {_LAST_PAGE} of {_PAGE}": _last_pages(engine, server),
            "list 100 in the middle": median_of(lambda _: _listed(store), server),
            "memory of the searching process, MB": [resident_bytes() / 2**20],
            "memory of the server after it, MB": _server_mb(folder),
        }
        yield from _recalls(store, folder, corpus)
        plain = [_query(f"{n}", lexical=False) for n in range(N_TIMES)]
        yield {"plain, after it": median_of(lambda n: engine.search(plain[n]), server)}
        yield {"first delete of a file": median_of(lambda n: _delete(store, n), server, 1)}
        yield {"delete one file": median_of(lambda n: _delete(store, n + 1), server, 3)}
        engine.close()


def _recalls(store: VectorStore, folder: Path, corpus: Corpus) -> Iterator[Figures]:
    """Recall as written, and on a server once everything is sealed and indexed."""
    nearest = np.load(folder / _NEAREST)
    state = store.index_state() if isinstance(store, MilvusStore) else None
    if state and isinstance(store, MilvusStore):
        yield {"rows in the index, as written": [state.built]}
    yield {"recall of plain at 10": [_recall(store, corpus, nearest)]}
    if state and isinstance(store, MilvusStore):
        _seal(store)
        yield {"recall of plain at 10, all sealed": [_recall(store, corpus, nearest)]}
        yield {"memory of the server, all sealed, MB": _server_mb(folder)}


def _seal(store: MilvusStore) -> None:
    """Have the server put all rows into the index."""
    store._link.call("flush", store._rows.name(store._segments))
    while (state := store.index_state()) and state.pending:
        time.sleep(1)


def _searches(engine: SearchEngine, words: Sequence[str], server: int) -> Iterator[Figures]:
    def each(**options: Any) -> Figure:
        return median_of(lambda n: engine.search(_query(f"{n}", lexical=False, **options)), server)

    filters = {name: parse_filter(data) for name, data in _FILTERS.items()}
    yield {"plain": each()}
    for name, filter in filters.items():
        begun = Moment(server)
        engine.search(_query("0", lexical=False, filter=filter))
        yield {f"{name}, first": begun.passed(), name: each(filter=filter)}
    tenth = filters["filter, 10 %: a tag"]
    with_words = [_query(f"{n} {two}") for n, two in enumerate(words)]
    filtered = [replace(query, filter=tenth) for query in with_words]
    yield {"words": median_of(lambda n: engine.search(with_words[n]), server)}
    yield {"words, filter of 10 %": median_of(lambda n: engine.search(filtered[n]), server)}


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


def _until_words(store: Any, words: str) -> None:
    while True:
        with suppress(IndexNotReadyError):
            if store.lexical(words, 1):
                return
        time.sleep(0.1)


def _until_names(engine: SearchEngine, words: str) -> None:
    """Wait for names: reading them in the background would count as the CPU of searches."""
    while engine.search(_query(f"0 {words}")).warnings:
        time.sleep(0.5)


def _last_pages(engine: SearchEngine, server: int) -> Figure:
    """The time of page `_LAST_PAGE`, as the median of the pages around it."""
    page = _query("0", lexical=False)

    def turn(_: int) -> None:
        nonlocal page
        result = engine.search(page)
        page = _query("0", lexical=False, cursor=result.next_cursor)

    for number in range(_LAST_PAGE - N_TIMES // 2 - 1):
        turn(number)
    return median_of(turn, server)


def _listed(store: VectorStore) -> object:
    """List assets as ``GET /v1/assets`` does."""

    class Services:
        pass

    services: Any = Services()
    services.store = store
    return _page(services, None, 100, "80000000")


def _delete(store: VectorStore, number: int) -> None:
    row = store.assets(list(store.select(None, limit=1, after=f"{number + 1}")))
    (asset,) = row.values()
    remove(store, asset.locations[0])


def _recall(store: VectorStore, corpus: Corpus, nearest: Embeddings) -> float:
    """Recall of the ten nearest pictures; ``nearest`` has the exact cosines [n_queries, 10]."""
    found = store.search(corpus.queries(len(nearest)), IMAGE, 10)
    hits = [
        sum(hit.cosine >= low - 1e-5 for hit in of)
        for of, low in zip(found, nearest[:, 0], strict=True)
    ]
    return float(np.mean(hits) / 10)


def _disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _server_mb(folder: Path) -> Figure:
    """Resident memory of the server in a folder, and its peak; 0 without one."""
    server = server_of(folder)
    if not server:
        return [0]
    return [resident_bytes(server) / 2**20, peak_resident_bytes(server) / 2**20]
