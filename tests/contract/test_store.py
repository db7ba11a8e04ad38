"""One body for every vector store; the memory store, which is exact, is the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from encoder.errors import InputError
from encoder.types import IMAGE, TEXT, VIDEO
from search.store.base import VectorStore
from search.store.memory import MemoryStore
from search.store.schema import MAX_SNIPPET_BYTES
from search.types import AssetRow, SegmentRow
from tests.contract.rows import (
    DIM,
    assert_same_answers,
    asset,
    corpus,
    names,
    segment,
    vectors,
)


def test_answers_like_the_oracle_through_writes_deletes_and_rewrites(store: VectorStore) -> None:
    oracle = MemoryStore(DIM)
    steps = np.random.default_rng(7)
    for seed in range(3):
        assets, segments = corpus(15, seed)
        gone = [assets[int(i)].asset_id for i in steps.integers(0, 15, size=4)]
        moved = [segment(s.asset_id, s.index, -s.embedding, s.modality) for s in segments[20:26]]
        for each in (store, oracle):
            each.write(assets, segments)
            each.write([], moved)
            each.delete(gone)
        assert_same_answers(store, oracle)
    assert list(store.scan()) == list(oracle.scan())


def test_an_empty_store_answers_nothing(store: VectorStore) -> None:
    assert store.search(vectors(2), IMAGE, 5) == [[], []]
    assert store.assets(["a"]) == {}
    assert store.assets_at(["/a"]) == {}
    assert list(store.scan()) == []
    store.delete(["a"])
    store.write([], [])
    assert store.assets([]) == store.assets_at([]) == {}


def test_an_asset_returns_as_it_was_written(store: VectorStore) -> None:
    row = AssetRow(
        "a1", VIDEO, "video/mp4", 2**40, 0, ["/b/ü 'x'.mp4", '/a/"y"\\n.mp4'], {"k\"'": "v\\\n"}
    )
    store.write([row], [])
    assert store.assets(["a1", "a2"]) == {"a1": row}
    assert list(store.scan()) == [row]


def test_a_segment_returns_as_it_was_written(store: VectorStore) -> None:
    rows = [
        segment("a", 0, vectors(1)[0], VIDEO, start_s=0.0, end_s=12.345678901),
        segment("a", 1, vectors(2)[1], VIDEO, char_start=0, char_end=2**40),
    ]
    store.write([asset("a", "/a", modality=VIDEO)], rows)
    hits = {hit.segment_id: hit for hit in store.search(vectors(1), VIDEO, 2)[0]}
    first, second = (hits[row.segment_id] for row in rows)
    assert (first.start_s, first.end_s, first.char_start) == (0.0, 12.345678901, None)
    assert (second.start_s, second.char_start, second.char_end) == (None, 0, 2**40)
    assert first.cosine == pytest.approx(1.0, abs=1e-5)


def test_a_long_snippet_is_cut_to_whole_characters(store: VectorStore) -> None:
    row = segment("a", 0, vectors(1)[0])
    long = SegmentRow(row.segment_id, "a", IMAGE, 0, row.embedding, snippet="x" + "é" * 9000)
    store.write([asset("a", "/a")], [long])
    (hit,) = store.search(vectors(1), IMAGE, 1)[0]
    assert len(hit.snippet.encode()) == MAX_SNIPPET_BYTES - 1
    assert long.snippet.startswith(hit.snippet)


def test_assets_are_found_at_their_locations(store: VectorStore) -> None:
    one, two = asset("a1", "/x", "/y"), asset("a2", "/y")
    store.write([one, two], [])
    found = store.assets_at(["/x", "/y", "/z"])
    assert found == {"/x": [one], "/y": [one, two]}


def test_a_row_with_more_locations_keeps_all_of_them(store: VectorStore) -> None:
    store.write([asset("a", "/x")], [segment("a", 0, vectors(1)[0])])
    more = asset("a", "/x", "/y", "/'quoted\" ü")
    store.write([more], [])
    assert store.assets_at(more.locations) == {uri: [more] for uri in more.locations}
    assert len(store.search(vectors(1), IMAGE, 5)[0]) == 1


def test_a_location_that_an_asset_has_left_finds_it_no_more(store: VectorStore) -> None:
    store.write([asset("a", "/x", "/y")], [])
    store.write([asset("a", "/y")], [])
    assert store.assets_at(["/x"]) == {}
    assert list(store.assets_at(["/y"])) == ["/y"]


def test_many_uris_and_ids_are_looked_up_in_batches(store: VectorStore) -> None:
    rows = [asset(f"a{number:04}", f"/{number}") for number in range(450)]
    store.write(rows, [])
    assert len(store.assets_at([f"/{number}" for number in range(1000)])) == 450
    assert list(store.assets([row.asset_id for row in rows]).values()) == rows


def test_writing_again_changes_nothing(store: VectorStore) -> None:
    assets, segments = corpus(6)
    store.write(assets, segments)
    before = store.search(vectors(2, seed=5), TEXT, 50)
    store.write(assets, segments)
    assert store.search(vectors(2, seed=5), TEXT, 50) == before
    assert len(list(store.scan())) == 6


def test_an_asset_of_ten_thousand_segments_is_deleted(store: VectorStore) -> None:
    embeddings = vectors(10_001)
    film = [segment("film", index, row) for index, row in enumerate(embeddings[:-1])]
    store.write([asset("film", "/film", n_segments=10_000)], film)
    store.write([asset("other", "/other")], [segment("other", 0, embeddings[-1])])
    assert len(store.search(vectors(1), IMAGE, 1000)[0]) == 1000
    store.delete(["film"])
    assert [hit.asset_id for hit in store.search(vectors(1), IMAGE, 1000)[0]] == ["other"]
    assert list(store.assets(["film", "other"])) == ["other"]


def test_equal_segments_come_in_the_order_of_their_ids(store: VectorStore) -> None:
    same = vectors(1)[0]
    rows = [segment("a", index, same) for index in range(20)]
    store.write([asset("a", "/a")], rows)
    found = names(store.search(vectors(1), IMAGE, 20)[0])
    assert found == sorted(row.segment_id for row in rows)


def test_rows_that_cannot_be_kept_are_refused_whole(store: VectorStore) -> None:
    good = segment("a", 0, vectors(1)[0])
    holed = vectors(1)[0].copy()
    holed[3] = np.nan
    with pytest.raises(InputError, match="NaN"):
        store.write([asset("a", "/a")], [good, segment("a", 1, holed)])
    with pytest.raises(InputError, match=r"shape \(16,\)"):
        store.write([asset("a", "/a")], [segment("a", 1, holed[:5])])
    with pytest.raises(InputError, match="UTF-8"):
        store.write([asset("a", "/\udcff")], [good])
    with pytest.raises(InputError, match="4096"):
        store.write([asset("a", *[f"/{n}" for n in range(5000)])], [good])
    assert list(store.scan()) == []
    assert store.search(vectors(1), IMAGE, 5) == [[]]


def test_queries_of_another_size_are_refused(store: VectorStore) -> None:
    with pytest.raises(InputError, match="queries"):
        store.search(np.ones((1, DIM + 1), np.float32), IMAGE, 5)
    with pytest.raises(InputError, match="NaN"):
        store.search(np.full((1, DIM), np.nan, np.float32), IMAGE, 5)
