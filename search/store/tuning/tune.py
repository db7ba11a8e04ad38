"""Measure the indexes that a server has, or the scan of a folder, on a sample of a store."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from encoder.types import Embeddings
from search.errors import IndexRefusedError, StoreError
from search.store.base import VectorStore
from search.store.calibrated import from_stored
from search.store.embedded.vectors.codes import CHUNK
from search.store.embedded.vectors.files import VectorFiles
from search.store.embedded.vectors.ranking import candidates_of
from search.store.milvus.indexes.kinds import LEAST_EFFORT, MMAP, build_params, row_bytes
from search.store.milvus.indexes.scratch import Scratch, drop_left
from search.store.milvus.link import MilvusLink
from search.store.open import store_name, store_target
from search.store.tuning.found import LEAST_RECALL, TOP, Exact, Ids, Trial, Tuned, chosen
from search.store.tuning.sample import Sample, drawn

INDEXES = ("HNSW", "HNSW_SQ", "IVF_RABITQ", "DISKANN", "SCANN", "HNSW" + MMAP)
"""In order of preference at the same speed."""
LEAST_ROWS = 2000
"""Milvus compares parts of fewer than 1,024 rows without an index."""
_EFFORTS = (16, 32, 64, 100, 200, 400, 800, 1600)
_TIMEOUT_S = 120.0
_CONNECT_S = 10.0
_UNSEALED = (
    "The server finds rows that were just written with a rough index: set "
    "queryNode.segcore.interimIndex.nprobe to 128 there (docs/stores.md)."
)

Progress = Callable[[str], object]


def tune(
    store: VectorStore,
    uri: str | None,
    asked: Embeddings,
    *,
    n: int = 20_000,
    indexes: Sequence[str] = INDEXES,
    memory_bytes: float | None = None,
    progress: Progress = lambda _: None,
) -> Tuned:
    """Measure, and propose settings. The store itself is only read.

    Args:
        store: the store, open.
        uri: where it is, as `search.store.open.open_store` takes it.
        asked: queries as people ask them, unit rows [n_queries, embed_dim].
        n: the most segments that are measured.
        indexes: those that are tried on a server.
        memory_bytes: the most that the index of all segments may take; None for any.
        progress: called with what is measured now.

    Raises:
        StoreError: the store has no index, or has too few rows; or its server failed.
        InputError: no such index.
    """
    if uri == "memory:":
        raise StoreError(
            "A store in memory compares all rows, without an index.",
            remedy="Set --store to a folder or a server.",
        )
    for index in indexes:
        build_params(index)
    progress("reading")
    sample = drawn(store, asked, n)
    if len(sample.rows) < LEAST_ROWS:
        raise StoreError(
            f"The store {store_name(uri)} has {sample.n_stored} segments: too few to measure an "
            f"index (at least {LEAST_ROWS}).",
            remedy="Ingest more first; a store this small is searched without an index anyway.",
        )
    target = store_target(uri)
    if isinstance(target, Path):
        return _of_folder(target, sample, progress)
    link = MilvusLink(target, timeout_s=_TIMEOUT_S, connect_timeout_s=_CONNECT_S)
    try:
        drop_left(link)
        return _of_server(link, sample, indexes, memory_bytes, progress)
    finally:
        link.close()


def _of_server(
    link: MilvusLink,
    sample: Sample,
    indexes: Sequence[str],
    memory_bytes: float | None,
    progress: Progress,
) -> Tuned:
    exact = Exact(sample.rows, sample.queries)
    trials: list[Trial] = []
    refused: dict[str, str] = {}
    unsealed: float | None = None
    dim = sample.rows.shape[1]
    for index in indexes:
        progress(index)
        try:
            with Scratch(link, index, dim) as scratch:
                begun_s = time.perf_counter()
                scratch.fill(sample.rows, sample.parts)
                if unsealed is None:
                    unsealed = _unsealed(scratch, exact)
                scratch.seal()
                scratch.load()
                built_s = time.perf_counter() - begun_s
                nearest = partial(scratch.nearest, limit=TOP)
                trial = _least_effort(index, nearest, exact, row_bytes(index, dim))
                trials.append(replace(trial, built_s=built_s))
        except IndexRefusedError as error:
            refused[index] = error.problem
    best = chosen(trials, sample.n_stored, memory_bytes)
    return Tuned(
        store=link.shown,
        version=link.version,
        n_rows=len(sample.rows),
        n_stored=sample.n_stored,
        trials=trials,
        refused=refused,
        unsealed=unsealed,
        settings=_settings(best),
        notes=list(_notes(sample, best, unsealed)),
    )


def _unsealed(scratch: Scratch, exact: Exact) -> float:
    """Recall while no index has the rows yet, whichever will."""
    scratch.load()
    query = exact.kinds[0][0][0]
    scratch.nearest(query, LEAST_EFFORT, limit=TOP, strong=True)
    return exact.recall(lambda query: scratch.nearest(query, LEAST_EFFORT, limit=TOP))


def _least_effort(
    index: str, nearest: Callable[[Embeddings, int], Ids], exact: Exact, row_bytes: float
) -> Trial:
    """The fewest candidates that find enough, or the most that were tried."""
    nearest(exact.kinds[0][0][0], _EFFORTS[-1])  # the first search of an index takes long
    for candidates in _EFFORTS:
        trial = _trial(index, partial(_with, nearest, candidates), exact, candidates, row_bytes)
        if trial.is_good:
            break
    return trial


def _with(nearest: Callable[[Embeddings, int], Ids], candidates: int, query: Embeddings) -> Ids:
    return nearest(query, candidates)


def _trial(
    index: str,
    search: Callable[[Embeddings], Ids],
    exact: Exact,
    candidates: int,
    row_bytes: float,
) -> Trial:
    taken_ms: list[float] = []

    def timed(query: Embeddings) -> Ids:
        begun_s = time.perf_counter()
        found = search(query)
        taken_ms.append((time.perf_counter() - begun_s) * 1e3)
        return found

    recall = exact.recall(timed)
    p50_ms, p95_ms = np.percentile(taken_ms, [50, 95]).tolist()
    return Trial(index, candidates, recall, p50_ms, p95_ms, row_bytes)


def _settings(best: Trial | None) -> dict[str, str]:
    """Propose no fewer candidates than usual: stores grow, and more rows need more."""
    if best is None:
        return {}
    return {
        "ANYMODAL_STORE__INDEX": best.index,
        "ANYMODAL_STORE__CANDIDATES": str(max(best.candidates, LEAST_EFFORT)),
    }


def _is_whole(sample: Sample) -> bool:
    """Whether all rows were measured, apart from those that were searched for."""
    return len(sample.rows) >= 0.8 * sample.n_stored


def _notes(sample: Sample, best: Trial | None, unsealed: float | None) -> Iterator[str]:
    if best is None:
        yield f"No index that fits finds {LEAST_RECALL} of the nearest {TOP}."
    if not _is_whole(sample):
        yield (
            f"{len(sample.rows):,} of {sample.n_stored:,} segments were measured. More rows need "
            "more candidates than these; use --sample to measure more."
        )
    if unsealed is not None and unsealed < LEAST_RECALL:
        yield _UNSEALED
    if best is not None:
        yield (
            "A store keeps the index it was made with: a new index applies to new stores, such as "
            "those of `anymodal reindex` and `anymodal import-store`; candidates apply at once."
        )


def _of_folder(folder: Path, sample: Sample, progress: Progress) -> Tuned:
    """Measure the scan of a folder, over the kind with the most rows, in a temporary folder."""
    progress("scan")
    parts = np.array(sample.parts)
    names, counts = np.unique(parts, return_counts=True)
    part = str(names[counts.argmax()])
    rows = np.stack([from_stored(row) for row in sample.rows[parts == part]])
    exact = Exact(rows, [queries[:, :-1] for queries in sample.queries])
    with tempfile.TemporaryDirectory(prefix="anymodal-tuning-") as scratch:
        files = VectorFiles(Path(scratch), 0, rows.shape[1])
        try:
            nos = np.zeros(len(rows), np.int32)
            files.nos(len(rows), files.append(0, rows, nos))

            def scanned(query: Embeddings) -> Ids:
                (found,) = files.nearest(query[None], TOP, len(rows), None)
                places: list[int] = found.slots[:TOP].tolist()
                return places

            scanned(rows[0])  # makes the codes
            trial = _trial("scan", scanned, exact, candidates_of(TOP), 1.5 * rows.shape[1])
        finally:
            files.close()
    coded = len(rows) // CHUNK * CHUNK
    return Tuned(
        store=str(folder),
        version="",
        n_rows=len(rows),
        n_stored=sample.n_stored,
        trials=[trial],
        refused={},
        unsealed=None,
        settings={},
        notes=[
            f"A folder is scanned with codes of half a byte per dimension ({coded:,} of these "
            f"{len(rows):,} rows of {part}), or of a byte with a filter; the best "
            f"{candidates_of(TOP)} are ranked by their floats. There is nothing to set: only "
            "Milvus servers have indexes.",
        ],
    )
