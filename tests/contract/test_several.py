"""What holds of segments that have several vectors; the oracle is checked against plain loops."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from encoder.errors import InputError
from encoder.space import UNCALIBRATED, Calibration, l2_normalize
from encoder.types import IMAGE, TEXT, Embeddings, Modality
from search.store.base import VectorStore
from search.store.memory import MemoryStore
from search.types import AssetRow, SegmentRow
from tests.contract.conftest import ON_MILVUS, ROOT, Opener
from tests.contract.rows import (
    DIM,
    SPACE,
    assert_same_answers,
    asset,
    knows_words,
    names,
    record_of,
    segment,
    vectors,
)

pytestmark = pytest.mark.slow

ROWS = {TEXT: 2, IMAGE: 3}
BY = {
    TEXT: Calibration(0.06, 0.155, (Calibration(-0.1, 0.3),)),
    IMAGE: Calibration(-0.2, 2.0, (Calibration(0.1, 0.4), Calibration(0.0, 0.2))),
}
OTHERS = {TEXT: Calibration(0.1, 0.2), IMAGE: Calibration(0.1, 0.2, (Calibration(0.3, 0.1),))}
KINDS = [TEXT, IMAGE]


def several(n_assets: int = 80, seed: int = 0) -> tuple[list[AssetRow], list[SegmentRow]]:
    """Assets of one segment each, texts of two vectors and pictures of three, in any order."""
    assets, rows = [], []
    embeddings = iter(vectors(3 * n_assets, seed))
    for number in range(n_assets):
        kind = KINDS[number % 2]
        name = f"several{seed}-{number}"
        assets.append(asset(name, f"/{name}", modality=kind))
        first = segment(name, 0, next(embeddings), kind)
        first = replace(first, snippet="a word" if kind == TEXT else "")
        rows.append(first)
        more = range(1, ROWS[kind])
        rows += [replace(first, embedding=next(embeddings), row=row) for row in more]
    return assets, rows


def filled(store: VectorStore) -> MemoryStore:
    oracle = MemoryStore(DIM, BY)
    for each in (store, oracle):
        each.write(*several())
    return oracle


def by_loops(
    rows: Sequence[SegmentRow], query: Embeddings, by: dict[Modality, Calibration]
) -> list[str]:
    """The segments, ordered by their best row."""
    best: dict[str, float] = {}
    for row in rows:
        constants = by.get(row.modality, UNCALIBRATED).of_row(row.row)
        score = (float(query @ l2_normalize(row.embedding)) - constants.mu) / constants.c
        best[row.segment_id] = max(score, best.get(row.segment_id, -np.inf))
    return sorted(best, key=lambda key: -best[key])


def assert_as_by_loops(store: VectorStore, by: dict[Modality, Calibration]) -> None:
    rows = several()[1]
    for query in l2_normalize(vectors(4, seed=9)):
        wanted = by_loops(rows, query, by)
        for limit in (1, 7, 100):
            (found,) = store.search(query[None], KINDS, limit, by=by)
            assert names(found[:limit]) == wanted[:limit]
        for kind in KINDS:
            of_kind = by_loops([row for row in rows if row.modality == kind], query, by)
            for limit in (1, 7, 100):
                (found,) = store.search(query[None], [kind], limit, by=by)
                assert names(found) == of_kind[:limit]


def test_the_best_vector_counts_and_no_segment_is_missed(new_store: VectorStore) -> None:
    store: VectorStore = MemoryStore(DIM, BY)
    if not isinstance(new_store, MemoryStore):
        store = new_store
        store.recalibrate(BY, {"source": "measured"})
    store.write(*several())
    assert_as_by_loops(store, BY)
    query = l2_normalize(vectors(1, seed=9))[0]
    every = [row.asset_id for row in several()[0]]
    all_found = store.search(query[None], KINDS, 9, by=BY)[0][:9]
    of_every = store.search(query[None], KINDS, 9, by=BY, asset_ids=every)[0][:9]
    assert names(of_every) == names(all_found)
    for found in all_found:
        rows = {row.row: row for row in store.embeddings(found.asset_id)}
        assert found.cosine == pytest.approx(float(query @ rows[found.row].embedding), abs=1e-5)


def test_what_is_identical_comes_first_whatever_its_other_vectors_are(store: VectorStore) -> None:
    same, near = vectors(2)
    rows = [segment("a", 0, same), replace(segment("a", 0, near), row=1)]
    store.write([asset("a", "/a")], rows)
    by = {IMAGE: Calibration(0.9, 1.0, (Calibration(-1.0, 0.01),))}
    (hit,) = store.search(same[None], [IMAGE], 5, by=by)[0]
    assert (hit.cosine, hit.row) == (pytest.approx(1.0, abs=1e-5), 0)


def test_segments_are_counted_and_rows_are_found_by_key(open_again: Opener) -> None:
    store = open_again(calibration=BY)
    oracle = filled(store)
    stores: list[VectorStore] = [store, oracle]
    for each in stores:
        assert each.sizes() == {TEXT: 40, IMAGE: 40}
        assert each.sample(IMAGE, 100).shape == (40, 3, DIM)
        assert 1 <= len(each.sample(TEXT, 10)) <= 10
        assert not knows_words(each) or len(each.lexical("word", 50)) == 40
        found = each.embeddings("several0-1")
        assert [(row.index, row.row) for row in found] == [(0, 0), (0, 1), (0, 2)]
        keys = [row.key for row in found]
        assert keys[1:] == [f"{keys[0]}#1", f"{keys[0]}#2"]
        vectors_of = each.vectors(keys)
        for row in found:
            np.testing.assert_allclose(vectors_of[row.key], row.embedding, atol=1e-6)
    store = open_again(calibration=BY)
    assert_same_answers(store, oracle)
    for each in (store, oracle):
        each.write(*several())
        each.delete(["several0-0", "several0-1"])
        assert each.sizes() == {TEXT: 39, IMAGE: 39}
    assert_same_answers(store, oracle)


def test_other_constants_rank_the_same_rows_otherwise(open_again: Opener) -> None:
    store = open_again(calibration=BY)
    oracle = filled(store)
    assert_as_by_loops(store, BY)
    for each in (store, oracle):
        each.recalibrate(OTHERS, {"source": "measured"})
    assert_as_by_loops(store, OTHERS)
    assert_same_answers(store, oracle)


def test_a_row_that_cannot_be_is_refused(store: VectorStore) -> None:
    row = segment("a", 0, vectors(1)[0])
    for wrong in (replace(row, row=-1), replace(row, segment_id="x#1")):
        with pytest.raises(InputError, match="segment_id"):
            store.write([], [wrong])


_KILLED = """
import os, signal, sys
from search.store.open import open_store
from tests.contract.rows import DIM, record_of
from tests.contract.test_several import BY, several
store = open_store(sys.argv[1], sys.argv[2], DIM, prefix=sys.argv[3], calibration=BY)
parts = int(sys.argv[4])
record = record_of(store)
insert = record._rows.insert
def killed(kind, rows, **options):
    global parts
    if kind.kind.startswith("segments"):
        if not parts:
            os.kill(os.getpid(), signal.SIGKILL)
        parts -= 1
    insert(kind, rows, **options)
record._rows.insert = killed
store.write(*several())
"""


@pytest.mark.parametrize("open_again", ON_MILVUS, indirect=True)
@pytest.mark.parametrize("parts", [1, 3])
def test_killed_between_the_rows_of_a_segment(open_again: Opener, parts: int) -> None:
    words = [sys.executable, "-c", _KILLED, open_again.uri, SPACE, open_again.prefix, str(parts)]
    assert subprocess.run(words, cwd=ROOT, timeout=120).returncode == -signal.SIGKILL
    store = open_again(calibration=BY)
    record = record_of(store)
    assert store.assets(["several0-0"]) == {}
    assert list(record._rows.where(record._segments[SPACE], "", ["segment_id"])) == []  # tidied
    oracle = filled(store)
    rows = list(record._rows.where(record._segments[SPACE], "", ["segment_id"]))
    assert sorted(row["segment_id"] for row in rows) == sorted(row.key for row in several()[1])
    assert record._rows.count(record._segments[SPACE]) == 200
    assert_same_answers(store, oracle)
