"""A store proves that it is whole: what contradicts the rest is found, named and mended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from encoder.types import TEXT
from search.store.base import VectorStore
from search.store.checking import (
    INCOMPLETE,
    MISCOUNTED,
    ORPHANED,
    PLACES,
    WORDS,
    Checkable,
    Findings,
)
from search.store.milvus.store import MilvusStore
from search.store.schema import ASSETS, LOCATIONS, asset_to_dict
from tests.contract.conftest import ON_MILVUS, Opener
from tests.contract.rows import SPACE, asset, corpus, record_of, segment, vectors


def _without_row(record: MilvusStore) -> None:
    record._rows.delete(ASSETS, ASSETS.key, ["asset0-0"])


def _without_segment(record: MilvusStore) -> None:
    (row, *_) = record.embeddings("asset0-1")
    segments = record._segments[SPACE]
    record._rows.delete(segments, segments.key, [row.key])


def without_place(record: MilvusStore) -> None:
    rows = record._rows.of(LOCATIONS, "asset_id", ["asset0-3"])
    record._rows.delete(LOCATIONS, LOCATIONS.key, [row[LOCATIONS.key] for row in rows])


def _without_words(record: MilvusStore) -> None:
    assert record._words
    words = record._words.collection
    record._rows.delete(words, words.key, [row.key for row in record.embeddings("words")])


def _miscounted(record: MilvusStore) -> None:
    (row,) = record.assets(["asset0-4"]).values()
    counts = {(SPACE, row.modality): 2}
    record._rows.upsert(ASSETS, [asset_to_dict(row, counts)])


_WRONG: dict[str, tuple[Callable[[MilvusStore], None], str]] = {
    ORPHANED: (_without_row, "asset0-0"),
    INCOMPLETE: (_without_segment, "asset0-1"),
    PLACES: (without_place, "asset0-3"),
    WORDS: (_without_words, "words"),
    MISCOUNTED: (_miscounted, "asset0-4"),
}


def _check(store: Checkable) -> Findings:
    told: list[tuple[int, int]] = []
    findings = store.check(lambda *numbers: told.append(numbers))
    assert told
    return findings


@pytest.fixture
def whole(open_again: Opener) -> VectorStore:
    store = open_again()
    store.write(*corpus(12))
    text = segment("words", 0, vectors(1)[0], TEXT, snippet="a heron and a crane")
    store.write([asset("words", "/w", modality=TEXT)], [text])
    return store


@pytest.mark.parametrize("open_again", ON_MILVUS, indirect=True)
def test_what_is_wrong_in_milvus_is_found_and_mended(whole: VectorStore) -> None:
    assert isinstance(whole, Checkable)
    findings = _check(whole)
    assert (findings.n_assets, findings.n_segments, findings.wrong) == (13, 37, {})
    record = record_of(whole)
    for kind, (damage, asset_id) in _WRONG.items():
        if kind == WORDS and not record._words:
            continue  # a server without words
        damage(record)
        record.catch_up()
        findings = _check(whole)
        key = [row.key for row in record.embeddings("words")] if kind == WORDS else [asset_id]
        assert findings.of(kind) == key
        n_assets = whole.count()
        with whole.locks.whole():
            whole.repair(findings)
        assert _check(whole).wrong == {}
        is_there = asset_id in whole.assets([asset_id])
        assert is_there == (kind != ORPHANED)
        if kind == INCOMPLETE:  # tags and locations stay; the next ingest reads it again
            assert whole.assets([asset_id])[asset_id].n_segments == 0
            assert not whole.embeddings(asset_id)
        assert whole.count() == n_assets - (not is_there and kind != ORPHANED)
    whole.delete(["asset0-3", "words"])
    assert _check(whole).wrong == {}
