"""One body for every vector store; the memory store, which is exact, is the oracle."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from encoder.errors import InputError
from encoder.space import l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO
from search.store.base import VectorStore
from search.store.memory import MemoryStore
from search.store.schema import MAX_SNIPPET_BYTES
from search.types import AssetRow, JsonValue, ScoredSegment, SegmentRow
from tests.contract.rows import (
    CALIBRATION,
    DIM,
    assert_same_answers,
    asset,
    corpus,
    names,
    segment,
    vectors,
)


@pytest.mark.slow
def test_answers_like_the_oracle_through_writes_deletes_and_rewrites(store: VectorStore) -> None:
    oracle = MemoryStore(DIM, CALIBRATION)
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


def test_an_empty_store_answers_nothing(new_store: VectorStore) -> None:
    assert new_store.search(vectors(2), IMAGE, 5) == [[], []]
    assert new_store.assets(["a"]) == {}
    assert new_store.assets_at(["/a"]) == {}
    assert list(new_store.scan()) == []
    new_store.delete(["a"])
    new_store.write([], [])
    assert new_store.assets([]) == new_store.assets_at([]) == {}


def test_an_asset_returns_as_it_was_written(store: VectorStore) -> None:
    metadata: dict[str, JsonValue] = {
        "k\"'": "v\\\n",
        "duration_s": 12.5,
        "width": 320,
        "tags": ["sea", "été"],
        "camera": {"model": None, "flash": False},
    }
    locations = ["/b/ü 'x'.mp4", '/a/"y"\\n.mp4']
    row = AssetRow("a1", VIDEO, "video/mp4", 2**40, 0, locations, metadata)
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


@pytest.mark.parametrize(
    "said",
    [
        {"confidence": 0.25, "language": "de"},
        {"boxes": "[[0.1, 0.2, 0.9, 0.2, 0.9, 0.3, 0.1, 0.3]]"},
        {"place": '{"heading": "码头 › Ferries"}'},
    ],
)
def test_what_a_text_says_of_itself_returns(store: VectorStore, said: dict[str, Any]) -> None:
    rows = [
        segment("a", 0, vectors(1)[0], TEXT, snippet="Exit", **said),
        segment("a", 1, vectors(1)[0], TEXT),
    ]
    store.write([asset("a", "/a", modality=TEXT)], rows)
    hits = {hit.segment_id: hit for hit in store.search(vectors(1), TEXT, 2)[0]}
    says, plain = (hits[row.segment_id] for row in rows)
    (by_word,) = store.lexical("exit", 5)
    for name, value in said.items():
        assert getattr(says, name) == getattr(by_word, name) == value
    assert (plain.confidence, plain.language, plain.boxes, plain.place) == (1.0, "", "", "")


def test_embeddings_are_found_by_segment(store: VectorStore) -> None:
    rows = [segment("a", index, row) for index, row in enumerate(vectors(3))]
    store.write([asset("a", "/a")], rows)
    found = store.vectors([rows[2].segment_id, rows[0].segment_id, "unknown"])
    assert set(found) == {rows[0].segment_id, rows[2].segment_id}
    np.testing.assert_allclose(
        found[rows[2].segment_id], l2_normalize(rows[2].embedding), atol=1e-6
    )
    assert store.vectors([]) == {}


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


@pytest.mark.slow
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


def test_numbers_that_json_does_not_hold_are_refused(store: VectorStore) -> None:
    with pytest.raises(InputError, match="metadata of asset a"):
        store.write([replace(asset("a", "/a"), metadata={"x": {"y": [float("nan")]}})], [])
    store.write([replace(asset("a", "/a"), metadata={"x": 2**53 + 1})], [])
    assert store.assets(["a"])["a"].metadata == {"x": float(2**53)}


def test_a_search_among_assets_finds_all_that_they_have(store: VectorStore) -> None:
    assets, segments = corpus(60)
    store.write(assets, segments)
    query, kinds = vectors(1, seed=5), [TEXT, IMAGE, AUDIO]
    wanted = {assets[0].asset_id, assets[4].asset_id, "unknown"}
    every = [row.asset_id for row in assets] + [f"unknown{n}" for n in range(5000)]

    def mixed(limit: int, asset_ids: Collection[str] | None) -> list[ScoredSegment]:
        by = store.scoring.reading
        return store.search_mixed(query[0], kinds, limit, by=by, asset_ids=asset_ids)[:limit]

    def of_images(limit: int, asset_ids: Collection[str] | None) -> list[ScoredSegment]:
        return store.search(query, IMAGE, limit, asset_ids=asset_ids)[0]

    for search, n_wanted in ((mixed, 6), (of_images, 3)):
        hits = search(50, wanted)
        assert {hit.asset_id for hit in hits} <= wanted
        assert len(hits) == n_wanted
        assert search(50, []) == []
        assert search(30, every) == search(30, None)


def test_embeddings_of_an_asset_return_as_they_were_written(store: VectorStore) -> None:
    rows = [segment("a", n, vectors(1, seed=n)[0], IMAGE if n % 2 else TEXT) for n in range(12)]
    store.write([asset("a", "/a"), asset("b", "/b")], [*rows, segment("b", 0, vectors(1)[0])])
    found = store.embeddings("a")
    wanted = sorted(rows, key=lambda row: (row.modality, row.index))
    assert [asdict(row) | {"embedding": 0} for row in found] == [
        asdict(row) | {"embedding": 0} for row in wanted
    ]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.embedding, l2_normalize(other.embedding), atol=1e-6)
    assert store.embeddings("unknown") == []


def test_a_store_that_answers_says_so(store: VectorStore) -> None:
    store.ping()


def test_queries_of_another_size_are_refused(store: VectorStore) -> None:
    with pytest.raises(InputError, match="queries"):
        store.search(np.ones((1, DIM + 1), np.float32), IMAGE, 5)
    with pytest.raises(InputError, match="NaN"):
        store.search(np.full((1, DIM), np.nan, np.float32), IMAGE, 5)


def test_many_at_once_get_the_answers_that_one_gets(store: VectorStore) -> None:
    assets, segments = corpus(20, 3)
    store.write(assets, segments)
    queries, ids = vectors(24), [row.asset_id for row in assets]

    def ask(number: int) -> tuple[list[str], list[float], object]:
        query, kind = queries[number : number + 1], (TEXT, IMAGE)[number % 2]
        (hits,) = store.search(query, kind, 3 + number % 3)
        found = store.assets(ids[number % 7 : number % 7 + 3])
        return [hit.segment_id for hit in hits], [hit.cosine for hit in hits], found

    # Searched together, cosines differ in their last bit.
    alone = [(hits, pytest.approx(cosines), found) for hits, cosines, found in map(ask, range(24))]
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, range(24))) == alone
