"""One body for every vector store; the memory store, which is exact, is the oracle."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from encoder.errors import InputError
from encoder.space import Space, l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Item
from search import Query, SearchEngine, SearchResult, Term
from search.filters import Compare, Operator, parse_filter
from search.store.base import VectorStore
from search.store.memory import MemoryStore
from search.store.overview import FIRST, LAST, Dated, dated_of
from search.store.schema import MAX_SNIPPET_BYTES
from search.types import READINGS, AssetRow, JsonValue, ScoredSegment, SegmentRow
from tests.contract.conftest import Opener
from tests.contract.rows import (
    CALIBRATION,
    DIM,
    assert_same_answers,
    asset,
    corpus,
    knows_words,
    names,
    segment,
    vectors,
)
from tests.support.encoders import Alike, Given


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
    assert new_store.search(vectors(2), [IMAGE], 5) == [[], []]
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
    row = AssetRow("a1", VIDEO, "video/mp4", 2**40, {}, locations, metadata)
    store.write([row], [])
    assert store.assets(["a1", "a2"]) == {"a1": row}
    assert list(store.scan()) == [row]


def test_a_segment_returns_as_it_was_written(store: VectorStore) -> None:
    rows = [
        segment("a", 0, vectors(1)[0], VIDEO, start_s=0.0, end_s=12.345678901),
        segment("a", 1, vectors(2)[1], VIDEO, char_start=0, char_end=2**40),
    ]
    store.write([asset("a", "/a", modality=VIDEO)], rows)
    hits = {hit.segment_id: hit for hit in store.search(vectors(1), [VIDEO], 2)[0]}
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
    hits = {hit.segment_id: hit for hit in store.search(vectors(1), [TEXT], 2)[0]}
    says, plain = (hits[row.segment_id] for row in rows)
    ways = [says, *(store.lexical("exit", 5) if knows_words(store) else [])]
    for name, value in said.items():
        assert {getattr(hit, name) for hit in ways} == {value}
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
    (hit,) = store.search(vectors(1), [IMAGE], 1)[0]
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
    assert len(store.search(vectors(1), [IMAGE], 5)[0]) == 1


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
    before = store.search(vectors(2, seed=5), [TEXT], 50)
    store.write(assets, segments)
    assert store.search(vectors(2, seed=5), [TEXT], 50) == before
    assert len(list(store.scan())) == 6


@pytest.mark.slow
def test_an_asset_of_ten_thousand_segments_is_deleted(new_store: VectorStore) -> None:
    # Not in the store that tests share: until a server removes so many deleted rows from its index,
    # searches of it miss near ones.
    embeddings = vectors(10_001)
    film = [segment("film", index, row) for index, row in enumerate(embeddings[:-1])]
    new_store.write([asset("film", "/film", n_segments=10_000)], film)
    new_store.write([asset("other", "/other")], [segment("other", 0, embeddings[-1])])
    assert len(new_store.search(vectors(1), [IMAGE], 1000)[0]) == 1000
    new_store.delete(["film"])
    assert [hit.asset_id for hit in new_store.search(vectors(1), [IMAGE], 1000)[0]] == ["other"]
    assert list(new_store.assets(["film", "other"])) == ["other"]


def test_equal_segments_come_in_the_order_of_their_ids(store: VectorStore) -> None:
    same = vectors(1)[0]
    rows = [segment("a", index, same) for index in range(20)]
    store.write([asset("a", "/a")], rows)
    found = names(store.search(vectors(1), [IMAGE], 20)[0])
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
    assert store.search(vectors(1), [IMAGE], 5) == [[]]


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
        by = store.calibrations.scoring().constants
        return store.search(query, kinds, limit, by=by, asset_ids=asset_ids)[0][:limit]

    def of_images(limit: int, asset_ids: Collection[str] | None) -> list[ScoredSegment]:
        return store.search(query, [IMAGE], limit, asset_ids=asset_ids)[0]

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


def test_a_stored_embedding_is_not_the_callers_array(store: VectorStore) -> None:
    (embedding,) = l2_normalize(vectors(1))
    written = embedding.copy()
    store.write([asset("a", "/a")], [segment("a", 0, embedding)])
    embedding[:] = -embedding
    ((best_hit, *_),) = store.search(written[None], [IMAGE], 1)
    assert best_hit.cosine == pytest.approx(1, abs=1e-5)


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
        (hits,) = store.search(query, [kind], 3 + number % 3)
        found = store.assets(ids[number % 7 : number % 7 + 3])
        return [hit.segment_id for hit in hits], [hit.cosine for hit in hits], found

    # Searched together, cosines differ in their last bit.
    alone = [(hits, pytest.approx(cosines), found) for hits, cosines, found in map(ask, range(24))]
    with ThreadPoolExecutor(12) as pool:
        for together, expected in zip(pool.map(ask, range(24)), alone, strict=True):
            assert together == expected


MAY, JUNE = 1_715_970_600, 1_717_200_000
ROWS = [
    AssetRow("a1", IMAGE, "image/png", 1, {IMAGE: 1}, ["/d/x/1.png", "/d/y/1.png"],
             {"tags": ["sea", "sun", "sea"], "city": "Munich", "country": "Germany",
              "taken": MAY + 0.75, "modified": JUNE}),
    AssetRow("a2", IMAGE, "image/png", 1, {IMAGE: 1}, ["/d/x/2.png"],
             {"tags": ["sea"], "city": 5, "country": "Germany", "taken": MAY}),
    AssetRow("a3", TEXT, "text/plain", 1, {TEXT: 1}, ["s3://b/3.txt"],
             {"taken": "?", "modified": JUNE}),
    AssetRow("a4", TEXT, "text/plain", 1, {TEXT: 1}, ["4.txt"], {"modified": None}),
    AssetRow("a5", TEXT, "text/plain", 1, {TEXT: 1}, ["/d/5.txt"], {"modified": -86_400.5}),
]  # fmt: skip


def fill(store: VectorStore) -> None:
    """Also with segments that have no commit row yet."""
    store.write(ROWS, [segment("later", 0, vectors(1)[0])])


def test_values_folders_and_months_are_counted(store: VectorStore) -> None:
    fill(store)
    found = store.facets(None)
    assert found.assets == 5
    assert found.values == {
        "modality": {"image": 2, "text": 3},
        "tags": {"sea": 2, "sun": 1},
        "country": {"Germany": 2},
        "city": {"Munich": 1},
    }
    assert found.folders == {"/d/": 1, "/d/x/": 2, "/d/y/": 1, "s3://b/": 1}
    assert found.months == {"1969-12": 1, "2024-05": 2, "2024-06": 1}

    few = store.facets(parse_filter({"field": "tags", "contains": "sun"}))
    assert (few.assets, few.values["tags"]) == (1, {"sea": 1, "sun": 1})
    assert few.folders == {"/d/x/": 1, "/d/y/": 1}
    assert few.months == {"2024-05": 1}
    store.write([replace(ROWS[1], metadata={"tags": ["sun"]})], [])
    assert store.facets(None).values["tags"] == {"sea": 1, "sun": 2}
    none = store.facets(parse_filter({"field": "title", "eq": "-"}))
    assert (none.assets, none.values["modality"], none.folders, none.months) == (0, {}, {}, {})


def test_the_newest_come_first_and_what_has_no_date_last(store: VectorStore) -> None:
    fill(store)
    order = ["a3", "a2", "a1", "a5", "a4"]
    found = store.newest(None, 9, FIRST)
    assert [one.asset_id for one in found] == order
    for at, one in enumerate(found):
        rest = store.newest(None, 2, dated_of(one.cursor))
        assert [other.asset_id for other in rest] == order[at + 1 : at + 3]
    before_june = store.newest(None, 1, Dated(JUNE, ""))
    assert [one.asset_id for one in before_june] == ["a2"]
    texts = parse_filter({"field": "modality", "eq": "text"})
    assert [one.asset_id for one in store.newest(texts, 2, FIRST)] == ["a3", "a5"]


def test_what_is_newer_than_a_place_comes_nearest_first(store: VectorStore) -> None:
    fill(store)
    order = ["a4", "a5", "a1", "a2", "a3"]
    found = store.newest(None, 9, LAST, reverse=True)
    assert [one.asset_id for one in found] == order
    for at, one in enumerate(found):
        rest = store.newest(None, 2, dated_of(one.cursor), reverse=True)
        assert [other.asset_id for other in rest] == order[at + 1 : at + 3]
    since_june = store.newest(None, 9, Dated(JUNE, ""), reverse=True)
    assert [one.asset_id for one in since_june] == ["a3"]
    texts = parse_filter({"field": "modality", "eq": "text"})
    since = store.newest(texts, 9, Dated(-86_400, ""), reverse=True)
    assert [one.asset_id for one in since] == ["a5", "a3"]


def test_what_arrived_last_comes_first_where_arrivals_are_known(store: VectorStore) -> None:
    fill(store)
    last = replace(ROWS[0], asset_id="a0", metadata={})
    store.write([last], [])
    store.write([replace(ROWS[1], metadata={"tags": ["sun"]})], [])  # it was there already
    found = store.newest(None, 9, FIRST, by="arrival")
    if not store.has_overview:
        assert found == store.newest(None, 9, FIRST)
        return
    assert found[0].asset_id == "a0"
    assert len({one.asset_id for one in found}) == len(ROWS) + 1
    rest = store.newest(None, 9, dated_of(found[1].cursor), by="arrival")
    assert rest == found[2:]


@pytest.mark.parametrize("most", [1000, 1])
def test_what_shows_a_date_or_a_place_is_found_by_metadata_names_and_text(
    store: VectorStore, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.understanding.evidence._MOST_ASSETS", most)
    when = datetime(2024, 5, 17, tzinfo=UTC).timestamp()
    where = {"places": ["Munich", "München"], "city": "Munich"}
    located = {"taken": when, "latitude": 48.14, "longitude": 11.58, **where}
    photos = [replace(asset(name, f"/{name}.jpg"), metadata=located) for name in ("p1", "p2")]
    named = asset("named", "/2024-05 minutes.jpg")
    letter = replace(asset("letter", "/letter.txt", modality=TEXT), media_type="text/plain")
    others = [asset(f"other{n}", f"/o{n}.jpg") for n in range(40)]
    rows = vectors(50)
    said = segment("letter", 0, rows[49], TEXT, snippet="München, 3. Mai 2024", char_start=0)
    store.write(
        [*photos, named, letter, *others],
        [
            *(segment(row.asset_id, 0, rows[n]) for n, row in enumerate([*photos, named, *others])),
            said,
        ],
    )
    engine = SearchEngine(Alike(Space(DIM, {"model": "same"}, CALIBRATION)), store)

    def answer(text: str) -> SearchResult:
        query = Query([Item(TEXT, text)], limit=50, understand=READINGS, explain=True)
        return engine.search(query)

    def gaining(text: str) -> set[str]:
        hits = answer(text).hits
        return {hit.asset_id for hit in hits if hit.explanation and hit.explanation.evidence}

    assert gaining("something of May 2024") == {"p1", "p2", "named", "letter"}
    assert gaining("something of 17 May 2024") == {"p1", "p2"}
    assert gaining("something in Munich") == {"p1", "p2", "letter"}
    assert gaining("something of May 2023") == set()
    assert {hit.asset_id for hit in answer("photos from 2024").hits} >= {"p1", "p2"}
    assert len(answer("photos from 2024").hits) == (3 if most > 1 else 2)
    engine.close()


@pytest.mark.slow
def test_a_strong_query_sees_what_another_just_wrote_and_deleted(open_again: Opener) -> None:
    one, other = open_again(), open_again.beside()
    engine = SearchEngine(Given(Space(DIM, {"model": "given"}, CALIBRATION)), other)

    def found(query: Query) -> list[str]:
        return [hit.asset_id for hit in engine.search(query).hits]

    for number, vector in enumerate(vectors(5)):
        name, twin = f"a{number}", f"b{number}"
        query = Query([Item(IMAGE, vector)], limit=2, consistency="strong")
        one.write(
            [asset(name, "/x"), asset(twin, "/y")],
            [segment(name, 0, vector), segment(twin, 0, vector)],
        )
        assert sorted(found(query)) == [name, twin]
        only = Query(query.items, filter=Compare("title", Operator.EQ, name), consistency="strong")
        assert found(only) == [name]
        like = Query([Term(asset_id=name)], limit=1, consistency="strong")
        assert found(like) == [twin]
        one.delete([name, twin])
        assert found(query) == []
    engine.close()
