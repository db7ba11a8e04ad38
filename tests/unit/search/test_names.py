"""Words and names: how they are cut, and what they add to a list."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event, Timer, current_thread

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from encoder.space import Space, l2_normalize
from encoder.types import IMAGE, TEXT, Item
from search import Query, SearchEngine, as_json
from search.filters import Filter
from search.lexical import WordIndex, holds, terms
from search.lexical.analysis import words
from search.lexical.index import IndexedText
from search.lexical.names import NameQuery, names_of, text_of
from search.store import rereading
from search.store.memory import MemoryStore
from search.store.name_index import NameIndex
from search.types import AssetRow, JsonValue, SegmentRow
from tests.support.encoders import Alike

DIM = 4
N_PHOTOS = 60


NEAREST_FIRST = Alike(Space(DIM, {"model": "one"}))
"""All queries mean the same; photo 0 is nearest to it, then photo 1, and so on."""


def photo(n: int, path: str, **metadata: JsonValue) -> tuple[AssetRow, SegmentRow]:
    name = f"photo{n:02}"
    embedding = l2_normalize(np.array([[1, 0.1 + n / 20, 0, 0]], np.float32))[0]
    row = AssetRow(name, IMAGE, "image/jpeg", 1, {IMAGE: 1}, [path], metadata)
    return row, SegmentRow(f"{name}s", name, IMAGE, 0, embedding)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(DIM)
    rows = [photo(n, f"/home/ada/holiday/DSC{n:04}.jpg") for n in range(N_PHOTOS)]
    rows[50] = photo(50, "/home/ada/BadHomburg/IMG_0042.jpg", tags=["Möwe"])
    rows[55] = photo(55, "/home/ada/x.jpg", places=["Beijing", "北京"], caption="The old tea house")
    store.write([asset for asset, _ in rows], [segment for _, segment in rows])
    return store


def first(store: MemoryStore, text: str, **asked: bool) -> str:
    engine = SearchEngine(NEAREST_FIRST, store)
    hits = engine.search(Query([Item(TEXT, text)], limit=5, **asked)).hits  # type: ignore[arg-type]
    engine.close()
    return hits[0].asset_id


@pytest.mark.parametrize(
    "text",
    ["IMG_0042", "img 0042.jpg", "IMG0042", "bad homburg", "BadHomburg", "möwe"],
)
def test_a_name_puts_its_asset_in_front(store: MemoryStore, text: str) -> None:
    assert first(store, text) == "photo50"


@pytest.mark.parametrize("text", ["北京", "beijing", "old tea house"])
def test_places_and_captions_are_names(store: MemoryStore, text: str) -> None:
    assert first(store, text) == "photo55"


@pytest.mark.parametrize(
    "text", ["a seagull eats chips in Homburg town", "IMG_0043", "house", "two men drink old wine"]
)
def test_a_part_of_a_query_does_not_outweigh_its_meaning(store: MemoryStore, text: str) -> None:
    assert first(store, text) == ("photo00" if text != "house" else "photo55")


@pytest.mark.parametrize("text", ["BadHmoburg", "old tea huose", "bad hombrg"])
def test_a_name_is_found_by_a_misspelling(store: MemoryStore, text: str) -> None:
    names = NameIndex(store)
    assert [*names.find(text, with_folders=True)] == ["photo55" if "tea" in text else "photo50"]
    names.close()


def test_a_name_adds_to_the_score_and_leaves_others_alone(store: MemoryStore) -> None:
    engine = SearchEngine(NEAREST_FIRST, store)
    plain = engine.search(Query([Item(TEXT, "IMG_0042")], limit=3, lexical=False)).hits
    named = engine.search(Query([Item(TEXT, "IMG_0042")], limit=3, explain=True)).hits
    engine.close()
    assert [(hit.asset_id, hit.score) for hit in named[1:]] == [
        (hit.asset_id, hit.score) for hit in plain[:2]
    ]
    why = named[0].explanation
    assert why is not None
    assert why.named > 0
    assert why.score == why.dense + why.words + why.named + why.evidence + why.prior


def test_a_kind_of_file_that_is_named_gains_a_little(store: MemoryStore) -> None:
    row, segment = photo(60, "/home/ada/x.pdf")
    near = l2_normalize(np.array([[1, 0.16, 0, 0]], np.float32))[0]  # between photos 1 and 2
    store.write([replace(row, media_type="application/pdf")], [replace(segment, embedding=near)])
    assert first(store, "the wine") == first(store, "photo of an invoice") == "photo00"
    engine = SearchEngine(NEAREST_FIRST, store)
    query = Query([Item(TEXT, "an invoice")], limit=70, explain=True)
    hits = engine.search(query).hits
    engine.close()
    gains = {hit.asset_id: hit.explanation.prior for hit in hits if hit.explanation}
    assert gains.pop("photo60") > 0
    assert set(gains.values()) == {0.0}


def test_folders_count_only_for_those_who_see_paths(store: MemoryStore) -> None:
    assert first(store, "bad homburg", folder_names=False) == "photo00"
    assert first(store, "IMG_0042", folder_names=False) == "photo50"


class SlowToRead(MemoryStore):
    """Gives threads that read all commit rows nothing until ``may_read`` is set."""

    def __init__(self) -> None:
        super().__init__(DIM)
        self.may_read = Event()

    def scan(self, filter: Filter | None = None) -> Iterator[AssetRow]:
        if current_thread().name in ("names", "places"):
            self.may_read.wait()
        return super().scan(filter)


def test_an_answer_without_names_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rereading, "_FIRST_WAIT_S", 0.01)
    store = SlowToRead()
    rows = [photo(n, f"/photos/{n}.jpg") for n in range(3)]
    store.write([asset for asset, _ in rows], [segment for _, segment in rows])
    engine = SearchEngine(NEAREST_FIRST, store)
    query = Query([Item(TEXT, "2.jpg")])

    early = engine.search(query)
    store.may_read.set()
    assert engine._names._thread is not None
    engine._names._thread.join()
    late = engine.search(query)
    engine.close()

    assert early.hits[0].asset_id == "photo00"
    assert "File names are still being read" in early.warnings[0]
    assert as_json(early)["warnings"] == early.warnings
    assert (late.hits[0].asset_id, late.warnings) == ("photo02", [])


def test_a_closed_engine_waits_for_no_reading() -> None:
    names = NameIndex(store := SlowToRead())
    store.write([photo(0, "/photos/0.jpg")[0]], [])
    names.begin()
    Timer(0.05, store.may_read.set).start()
    names.close()

    assert store._known_names == {}


def test_a_renamed_file_is_found_without_its_embedding(store: MemoryStore) -> None:
    names = NameIndex(store)
    assert set(names.find("regatta", with_folders=True)) == set()
    row = store.assets(["photo50"])["photo50"]
    store.write([replace(row, locations=["/home/ada/regatta/2.jpg"])], [])
    store.delete(["photo55"])
    names._next_s = store._next_names_s = 0.0  # as if a minute later
    names.find("regatta", with_folders=True)
    assert names._thread is not None
    names._thread.join()
    assert set(names.find("regatta", with_folders=True)) == {"photo50"}
    assert "photo50" not in names.find("IMG_0042", with_folders=True)
    assert not names.find("北京", with_folders=True)
    names.close()


@pytest.mark.parametrize(
    ("text", "name", "part"),
    [
        ("Aufnahme 7", "Aufnahme 07.flac", 1.0),
        ("VID 2022", "VID_20220209_112233.mp4", 1.0),
        ("VID 2022", "VID_12022020.mp4", 3 / 7),
        ("Aufnahme 7", "Aufnahme 17.flac", 8 / 9),
    ],
)
def test_a_number_is_found_however_it_is_written(text: str, name: str, part: float) -> None:
    row = AssetRow("a", IMAGE, "image/png", 1, {IMAGE: 1}, [f"/{name}"])
    assert NameQuery(text).match(names_of(row), with_folders=True) == pytest.approx(part)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("Don't stop_now, HX-4711!", ["don", "t", "stop", "now", "hx", "4711"]),
        ("ÉTÉ été e\u0301te\u0301 ＥＴＥ", ["ete"] * 4),
        ("Straße STRASSE ﬁn", ["strasse", "strasse", "fin"]),
        ("Ёлка Ἀθήνα", ["елка", "αθηνα"]),
        ("한국어 검색", ["한국어", "검색"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("が", ["が"]),
        ("“Zoë” – 5 €…", ["zoe", "5"]),
        ("东京・x1–y", ["东", "东京", "京", "京・", "・", "x1", "y"]),
        ("東京x1", ["東", "東京", "京", "x1"]),
        ("ไทย", ["ไ", "ไท", "ท", "ทย", "ย"]),
        ("a" * 100, ["a" * 64]),
    ],
)
def test_words_of_any_language(text: str, wanted: list[str]) -> None:
    assert words(text) == wanted
    assert words(" ".join(wanted)) == wanted or "京" in text or "ไ" in text


@given(st.text())
def test_what_lets_words_be_found_faster_changes_none(text: str) -> None:
    assert words(f"{text} 東") == [*words(text), "東"]


@given(st.text(), st.text("ab é東_-1"), st.text("ab é東_-1"))
@example("zebra", "zebras", "zebr zebu")
@example("", "aaaaa1", "aaaaaaa")
@example("", "aaaaabé", "aaaaa")
def test_a_text_holds_what_is_among_its_terms(any_text: str, some: str, other: str) -> None:
    for text, wanted in [(any_text, terms(some)), (some, terms(other)), (some, terms(some))]:
        assert holds(text, wanted) == (not set(wanted).isdisjoint(terms(text)))
    assert not holds(any_text, [])


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Die Mitgliedschaft endet im Mai.", "Mitglieder"),
        ("Она была в библиотеке", "библиотека"),
        ("The libraries are closed.", "library"),
        ("Die Bundesregierung tagt.", "Bundestag"),
    ],
)
def test_other_forms_of_a_word_are_found_behind_the_word_itself(text: str, query: str) -> None:
    index = WordIndex()
    index.add(
        [
            IndexedText("form", "a", text),
            IndexedText("word", "b", query),
            IndexedText("other", "c", "Nothing."),
        ]
    )
    index.commit()
    assert [hit.segment_id for hit in index.find(query, 5)] == ["word", "form"]


def test_a_name_is_indexed_by_its_own_terms() -> None:
    row = AssetRow("a", IMAGE, "image/png", 1, {}, ["/pictures/IMG_0042.JPG"])
    index = WordIndex()
    index.add([text_of(row)])
    index.commit()
    assert index.known(["pictures", "pictuX", "0042"]) == ["pictures", "pictuX", "0042"]
    assert index.known(["pictux"]) == []


def test_numbers_have_no_other_forms() -> None:
    assert terms("HX4711a 20261126") == ["hx4711a", "20261126"]


def test_texts_are_found_while_others_are_read_to_be_added() -> None:
    index = WordIndex()
    index.add([IndexedText("one", "a", "a zeppelin")])
    index.commit()
    reading, found = Event(), Event()

    def texts() -> Iterator[IndexedText]:
        yield IndexedText("two", "b", "another zeppelin")
        reading.set()
        assert found.wait(60)

    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(index.add, texts())
        assert reading.wait(60)
        assert [hit.segment_id for hit in index.find("zeppelin", 5)] == ["one"]
        found.set()
        adding.result()
    assert len(index.find("zeppelin", 5)) == 1
    index.commit()
    assert len(index.find("zeppelin", 5)) == 2
