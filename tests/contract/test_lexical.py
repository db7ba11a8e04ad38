"""Words find the same texts in every store, however it looks for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from encoder.space import Space
from encoder.types import AUDIO, TEXT, Item
from search import Query, SearchEngine
from search.errors import IndexNotReadyError
from search.filters import parse_filter
from search.store.base import VectorStore
from search.store.folder import reading
from search.store.memory import MemoryStore
from search.store.milvus import store as milvus_texts
from search.types import SegmentRow
from tests.contract.conftest import WITH_WORDS, Opener, empty_store, uri_of
from tests.contract.rows import DIM, asset, names, segment, vectors
from tests.support.encoders import Alike
from tests.support.waiting import wait_for

TEXTS = {
    "ferry": "The ferry to the islands leaves at nine. The crossing takes two hours.",
    "ferries": "The islands are reached by air, too: the flight takes twenty minutes.",
    "soup": "Leek and potato soup: cut the leek, boil the potatoes, add cream.",
    "cafe": "Le café de la gare ouvre à six heures.",
    "kyoto": "京都の桜は四月に咲きます。",
    "tokyo": "東京の地下鉄は朝とても混んでいます。",
    "pump": "Replace the gasket HX-4711 of the pump every 2000 hours of operation.",
    "note": "The 'quoted' \"text\" {with} [brackets] || true \\ and more.",
}


@pytest.fixture(params=["memory", *WITH_WORDS])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    yield from empty_store(request, tmp_path)


@pytest.fixture(params=WITH_WORDS)
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    opener = Opener(uri_of(request, tmp_path))
    yield opener
    opener.close()


def text(name: str, content: str, index: int = 0) -> SegmentRow:
    row = segment(name, index, vectors(1, seed=index)[0], TEXT)
    return replace(row, snippet=content)


@pytest.fixture
def filled(store: VectorStore) -> VectorStore:
    rows = [text(name, content) for name, content in TEXTS.items()]
    store.write([asset(name, f"/{name}", modality=TEXT) for name in TEXTS], rows)
    return store


def found(store: VectorStore, query: str, limit: int = 10, **options: list[str]) -> list[str]:
    hits = store.lexical(query, limit, **options)
    assert all(hit.cosine > 0 for hit in hits)
    assert hits == sorted(hits, key=lambda hit: (-hit.cosine, hit.segment_id))
    return [hit.asset_id for hit in hits]


ASKED = {
    "when does the ferry leave": "ferry",
    "FERRY": "ferry",
    "potatoes with leek": "soup",
    "cafe a la gare": "cafe",
    "CAFÉ": "cafe",
    "京都の桜": "kyoto",
    "地下鉄": "tokyo",
    "hx 4711": "pump",
    '"brackets] || true': "note",
}


def test_the_first_hits_are_those_that_are_meant_and_of_the_oracle(filled: VectorStore) -> None:
    assert {query: found(filled, query)[0] for query in ASKED} == ASKED
    oracle = MemoryStore(DIM)
    oracle.write([], [text(name, content) for name, content in TEXTS.items()])
    for query in ["the ferry to the islands", "takes two hours", "東京の桜", "leek pump"]:
        wanted = found(oracle, query)
        assert found(filled, query, limit=3) == wanted[:3]
        assert set(found(filled, query)) == set(wanted)
    for query in ["zeppelin", "", " ?! \n", "龍", 'asset_id != ""']:
        assert found(filled, query) == []
    assert found(filled, "ferry islands", limit=1) == found(filled, "ferry islands")[:1]


def test_only_given_assets_are_looked_at(filled: VectorStore) -> None:
    assert found(filled, "the", asset_ids=["soup", "pump", "unknown"]) == found(
        filled, "the", asset_ids=["pump", "soup"]
    )
    assert set(found(filled, "the", asset_ids=["soup", "pump"])) == {"soup", "pump"}
    assert found(filled, "the", asset_ids=[]) == []


def test_what_was_deleted_is_not_found(filled: VectorStore) -> None:
    assert found(filled, "ferry") == ["ferry"]
    filled.delete(["ferry", "unknown"])
    assert found(filled, "ferry") == []
    assert "ferry" not in found(filled, "the islands")


def test_what_was_written_is_found_at_once_and_by_its_last_text(filled: VectorStore) -> None:
    assert found(filled, "ferry")
    filled.write([asset("new", "/new", modality=TEXT)], [text("new", "A zeppelin over the alps")])
    assert found(filled, "zeppelin") == ["new"]
    filled.write([], [text("new", "A balloon over the alps")])
    assert found(filled, "zeppelin") == []
    assert found(filled, "balloon") == ["new"]
    filled.write([], [text("new", "")])
    assert found(filled, "balloon") == []


def test_what_another_process_changes_is_found_in_the_end(open_again: Opener) -> None:
    mine, other = open_again(), open_again.beside()
    mine.write([asset("a", "/a", modality=TEXT)], [text("a", "A zeppelin over the alps")])
    assert found(mine, "zeppelin") == ["a"]
    other.write([asset("b", "/b", modality=TEXT)], [text("b", "Another zeppelin")])
    wait_for(lambda: set(found(mine, "zeppelin")) == {"a", "b"})
    other.delete(["a"])
    wait_for(lambda: found(mine, "zeppelin") == ["b"])


def test_what_another_process_adds_again_or_removes_is_known(open_again: Opener) -> None:
    mine, other = open_again(), open_again.beside()
    a = [asset("a", "/a", modality=TEXT)], [text("a", "A zeppelin over the alps")]
    b = [asset("b", "/b", modality=TEXT)], [text("b", "A balloon over the alps")]
    other.write(*a)
    wait_for(lambda: found(mine, "zeppelin") == ["a"])
    mine.delete(["a"])
    other.write(*a)
    wait_for(lambda: found(mine, "zeppelin") == ["a"])
    mine.write(*b)
    assert found(mine, "balloon") == ["b"]
    other.delete(["b"])
    wait_for(lambda: not found(mine, "balloon"))


def test_the_next_process_knows_the_words_that_others_wrote(open_again: Opener) -> None:
    mine = open_again()
    mine.write([asset("old", "/a", modality=TEXT)], [text("old", "A loaf of bread")])
    assert found(mine, "a dragon on its gold") == ["old"]
    mine = open_again()
    mine.write([asset("new", "/a", modality=TEXT)], [text("new", "A dragon on its gold")])
    mine.delete(["old"])
    assert found(open_again(), "a dragon on its gold") == ["new"]
    mine = open_again()
    mine.write([asset("late", "/b", modality=TEXT)], [text("late", "gold")])  # before any search
    assert set(found(mine, "gold")) == {"new", "late"}


def test_what_another_process_deletes_takes_no_place(open_again: Opener) -> None:
    mine, other = open_again(calibration={}), open_again.beside(calibration={})
    for name in ("one", "two", "three"):
        mine.write([asset(name, f"/{name}", modality=TEXT)], [text(name, f"The ferry {name}")])
    query = Query([Item(TEXT, "ferry one")], consistency="strong")
    engine = SearchEngine(Alike(Space(DIM, {}, {})), mine)
    assert len(engine.search(query).hits) == 3
    other.delete(["one"])
    assert {hit.asset_id for hit in engine.search(query).hits} == {"two", "three"}
    engine.close()


def test_a_hit_is_the_segment_as_it_was_written(store: VectorStore) -> None:
    rows = [
        replace(text("talk", content, index), start_s=float(index), end_s=index + 1.5)
        for index, content in enumerate(["We sail at dawn.", "The sail is torn.", "Good night."])
    ]
    sound = replace(segment("talk", 9, vectors(1)[0], AUDIO), snippet="sail")
    store.write([asset("talk", "/talk", modality=AUDIO)], [*rows, sound])
    hits = store.lexical("sail", 5)
    assert {hit.segment_id for hit in hits} == {row.segment_id for row in rows[:2]}
    first = next(hit for hit in hits if hit.segment_id == rows[0].segment_id)
    assert (first.modality, first.start_s, first.end_s) == (TEXT, 0.0, 1.5)
    assert first.snippet == "We sail at dawn."


def test_words_of_a_filter_are_found_however_many_texts_have_them(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milvus checks a number of the best, and looks among the assets if these leave too few.

    A folder looks among the assets if they are few.
    """
    monkeypatch.setattr(milvus_texts, "MAX_FOUND", 4)
    monkeypatch.setattr(reading, "_MAX_JOINED", 3)
    tags = {f"a{n}": ["some"] * (n % 2) + ["last"] * (n == 9) for n in range(10)}
    assets = [asset(one, f"/{one}", modality=TEXT) for one in tags]
    store.write(
        [replace(one, metadata={"tags": tags[one.asset_id]}) for one in assets],
        [text(one, "sea " + "word " * n) for n, one in enumerate(tags)],
    )
    some, last = (parse_filter({"field": "tags", "contains": tag}) for tag in ("some", "last"))
    assert [hit.asset_id for hit in store.lexical("sea", 2, filter=some)] == ["a1", "a3"]
    assert [hit.asset_id for hit in store.lexical("sea", 2, filter=last)] == ["a9"]


def test_texts_of_many_words_in_many_segments_are_found(store: VectorStore) -> None:
    rows = [text("book", f"page{n} " + "word " * 800, n) for n in range(90)]
    rows.append(text("book", " ".join("ﷺ" * 1300) + " needle", 90))
    store.write([asset("book", "/book", modality=TEXT)], rows)
    assert names(store.lexical("page23", 5)) == [rows[23].segment_id]
    assert len(store.lexical("word", 80)) == 80


def test_a_store_says_how_many_texts_hold_a_word(filled: VectorStore) -> None:
    assert found(filled, "the gasket") != []
    frequencies = filled.frequencies(["the", "kyoto", "gasket", "fahrkX"])
    assert frequencies.n_texts == len(TEXTS)
    assert frequencies.of["gasket"] == 1
    assert frequencies.of["the"] == 5
    assert frequencies.of["fahrkX"] == 0
    assert frequencies.rarity("gasket") > frequencies.rarity("the")


def test_words_in_quotes_are_in_all_that_a_local_index_finds(filled: VectorStore) -> None:
    hits = found(filled, '"leek and potato" ferry')
    assert "soup" in hits
    (best, *_) = (
        SearchEngine(Alike(Space(DIM, {})), filled)
        .search(Query([Item(TEXT, '"leek and potato"')]))
        .hits
    )
    assert best.asset_id == "soup"


@pytest.mark.milvus
@pytest.mark.parametrize("open_again", ["milvus_server"], indirect=True)
def test_a_server_without_words_is_searched_by_meaning_and_says_so(open_again: Opener) -> None:
    store = open_again(calibration={})
    store.write([asset("ferry", "/f", modality=TEXT)], [text("ferry", TEXTS["ferry"])])
    with pytest.raises(IndexNotReadyError, match="no search by words"):
        store.lexical("ferry", 3)
    engine = SearchEngine(Alike(Space(DIM, {}, {})), store)
    answer = engine.search(Query([Item(TEXT, "ferry")], consistency="strong"))
    assert [hit.asset_id for hit in answer.hits] == ["ferry"]
    (warning,) = answer.warnings
    assert "only meaning and names counted" in warning
    engine.close()
