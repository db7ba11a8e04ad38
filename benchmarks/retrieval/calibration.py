"""Measured constants compared with the bundle's, and what it takes to rewrite a store.

    python -m benchmarks.retrieval.calibration quality --clips ESC-10
    python -m benchmarks.retrieval.calibration rows [--rows 20000]

``quality`` ranks the corpus of `benchmarks.corpora.mixed` by bare cosines, by the bundle's
constants (fitted on that corpus), and by those that `anymodal store calibrate` measures. ``rows``
rewrites vectors on Milvus Lite and on the genuine server, and times searches before and half
through.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.corpora import mixed
from benchmarks.corpora.mixed import MODALITIES, Corpus
from benchmarks.harness.results_pages import table, write_section
from encoder import MultiModalEncoder
from encoder.calibration.measure import (
    MAX_VECTORS,
    Measured,
    constants_of,
    measure,
    shares_of_best,
    told_apart,
)
from encoder.calibration.queries import sample_queries
from encoder.space import Calibration, l2_normalize
from encoder.types import IMAGE, QUERY, TEXT, Embeddings, Item, Modality
from scripts.fit_calibration import calibrated, mean_average_precision
from search.store.base import VectorStore
from search.store.open import open_store
from search.store.schema import segment_id
from search.types import AssetRow, SegmentRow
from tests.support.milvus_server import MilvusServer

_DIM = 384
_PER_ASSET = 4
_SPACE = "c0ffee0123456789"
_SEARCHES_S = 1.0


def quality(corpus: Corpus, encoder: MultiModalEncoder) -> str:
    """A Markdown table of mAP by kind of query, and the constants themselves."""
    items = [Item(TEXT, query.text, QUERY) for query in sample_queries()]
    queries, asked = told_apart(sample_queries(), encoder.encode_items(items))
    samples = {kind: _sample(corpus.targets[kind].embeddings) for kind in MODALITIES}
    measured = measure(queries, asked, samples)
    sets: dict[str, Mapping[Modality, Calibration]] = {
        "bare cosines": {kind: Calibration() for kind in MODALITIES},
        "shipped with the bundle": encoder.space.calibration,
        "measured": constants_of(measured),
    }
    rows = [_judged(name, corpus, asked, samples, constants) for name, constants in sets.items()]
    headings = ("constants", *(f"by {kind}" for kind in MODALITIES), "mean", "in the best ten")
    shares = "/".join(MODALITIES)
    return (
        "mAP of the corpus of `benchmarks.corpora.mixed`. The shipped constants were fitted on its "
        f"own queries, the measured ones on {len(queries)} that have nothing to do with it. "
        f"In the best ten of these: the shares of {shares}.\n\n{table(headings, rows)}\n\n"
        f"{_constants(sets, measured)}"
    )


def _sample(rows: Embeddings) -> Embeddings:
    chosen = np.random.default_rng(0).permutation(len(rows))[:MAX_VECTORS]
    return rows[np.sort(chosen), None]


def _judged(
    name: str,
    corpus: Corpus,
    asked: Embeddings,
    samples: Mapping[Modality, Embeddings],
    constants: Mapping[Modality, Calibration],
) -> tuple[str, ...]:
    way = calibrated(constants)
    figures = [mean_average_precision(corpus, kind, way) for kind in MODALITIES]
    shares = shares_of_best(asked, samples, constants)
    cells = [f"{figure:.3f}" for figure in (*figures, float(np.mean(figures)))]
    return (name, *cells, " / ".join(f"{shares[kind]:.2f}" for kind in MODALITIES))


def _constants(
    sets: Mapping[str, Mapping[Modality, Calibration]], measured: Mapping[Modality, Measured]
) -> str:
    rows = []
    for kind in MODALITIES:
        pairs = [sets[name][kind] for name in ("shipped with the bundle", "measured")]
        one = measured[kind]
        kinds = ", ".join(f"{name} {mu:.3f}" for name, mu in one.by_kind.items())
        rows.append(
            (
                kind,
                *(f"{pair.mu:.3f} / {pair.c:.3f}" for pair in pairs),
                f"{one.spread:.2f}",
                f"{one.spread_of_languages:.2f}",
                kinds,
            )
        )
    headings = (
        "",
        "shipped μ / c",
        "measured μ / c",
        "spread",
        "of languages",
        "μ by kind of query",
    )
    return table(headings, rows)


def rows(n_rows: int) -> str:
    """A Markdown table: seconds for 10,000 rows, and for a search before and meanwhile."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        lines.append(("Milvus Lite", *_rewritten(f"{folder}/store", n_rows, lambda: 0.0)))
        with MilvusServer(Path(folder) / "server") as server:
            lines.append(
                (
                    "Milvus 2.3.5",
                    *_rewritten(server.uri, n_rows, lambda: _cpu_s(server.process.pid)),
                )
            )
    headings = ("store", "wall s", "CPU s", "search before, ms", "search half through, ms")
    return (
        f"{n_rows} rows of {_DIM} dimensions, half texts and half pictures. Seconds for 10,000 "
        "rows, CPU time of client and server together; searches of both kinds, the median of many."
        f"\n\n{table(headings, lines)}"
    )


def _rewritten(uri: str, n_rows: int, server_s: Callable[[], float]) -> tuple[str, ...]:
    before = {TEXT: Calibration(0.5, 0.1), IMAGE: Calibration(0.1, 0.1)}
    after = {TEXT: Calibration(0.4, 0.05), IMAGE: Calibration(0.2, 0.2)}
    with _filled(uri, n_rows, before) as store:
        alone_ms = _search_ms(store)
        meanwhile_ms: list[float] = []
        spent = [0.0, 0.0]

        def now() -> tuple[float, float]:
            return time.perf_counter(), time.process_time() + server_s()

        def half_through(n_done: int, n_all: int) -> None:
            if not meanwhile_ms and n_done >= n_all / 2:
                begun = now()
                meanwhile_ms.append(_search_ms(store))
                spent[:] = [end - start for end, start in zip(now(), begun, strict=True)]

        store.recalibrate(after, {"source": "measured"})
        begun = now()
        assert store.rewrite(half_through) == n_rows
        took = [
            (end - start - other) * 10_000 / n_rows
            for end, start, other in zip(now(), begun, spent, strict=True)
        ]
        return (*(f"{s:.1f}" for s in took), f"{alone_ms:.0f}", f"{meanwhile_ms[0]:.0f}")


@contextmanager
def _filled(
    uri: str, n_rows: int, constants: Mapping[Modality, Calibration]
) -> Iterator[VectorStore]:
    store = open_store(uri, _SPACE, _DIM, calibration=constants)
    random = np.random.default_rng(0)
    for start in range(0, n_rows, 1000):
        vectors = l2_normalize(random.normal(size=(1000, _DIM)))
        segments = [_segment(start + place, row) for place, row in enumerate(vectors)]
        ids = dict.fromkeys(one.asset_id for one in segments)
        store.write([AssetRow(i, TEXT, "x/y", 1, _PER_ASSET, [f"/{i}"]) for i in ids], segments)
    try:
        yield store
    finally:
        store.close()


def _segment(number: int, row: Embeddings) -> SegmentRow:
    asset_id, index = f"{number // _PER_ASSET:032x}", number % _PER_ASSET
    kind = TEXT if number // _PER_ASSET % 2 else IMAGE
    snippet = f"Row {number} of a text that is as long as a sentence or two are. " * 4
    key = segment_id(asset_id, kind, index, _SPACE)
    return SegmentRow(key, asset_id, kind, index, row, snippet=snippet)


def _search_ms(store: VectorStore) -> float:
    """The median time of a search, over a second of searches."""
    random = np.random.default_rng(1)
    taken_ms = []
    end_s = time.perf_counter() + _SEARCHES_S
    while time.perf_counter() < end_s or len(taken_ms) < 5:
        query = l2_normalize(random.normal(size=(1, _DIM)))[0]
        started_s = time.perf_counter()
        store.search_mixed(query, [TEXT, IMAGE], 44)
        taken_ms.append(1000 * (time.perf_counter() - started_s))
    return float(np.median(taken_ms))


def _cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    home = Path(".demo") / "quality"
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["quality", "rows"])
    parser.add_argument("--clips", type=Path, help="ESC-10: one folder a class")
    parser.add_argument("--samples", type=Path, default=home / "samples")
    parser.add_argument("--descriptions", type=Path, default=home / "descriptions")
    parser.add_argument("--rows", type=int, default=20_000)
    args = parser.parse_args()
    if args.what == "rows":
        body = rows(args.rows)
        write_section("Rewriting a store", "python -m benchmarks.retrieval.calibration rows", body)
    else:
        corpus = mixed.load(args.samples, args.descriptions, args.clips)
        body = quality(
            corpus, MultiModalEncoder("bundle:english", quantization=None, enable_dsre=False)
        )
        command = "python -m benchmarks.retrieval.calibration quality --clips ESC-10"
        write_section("Measured calibration", command, body)
    print(body)


if __name__ == "__main__":
    main()
