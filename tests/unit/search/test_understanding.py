from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from encoder.space import Space
from encoder.types import IMAGE, TEXT, Item
from search import Query, SearchEngine
from search.query.terms import ItemEncoder
from search.store.memory import MemoryStore
from search.types import READINGS, AssetRow, Reading, SegmentRow
from search.understanding.dates import find_date
from search.understanding.places import find_place, known_names
from search.understanding.understand import without

TODAY = date(2026, 11, 27)  # a Friday
DATA = Path(__file__).parents[2] / "data"
DATED = [line.split("\t") for line in (DATA / "dated_queries.tsv").read_text("utf-8").splitlines()]
PLAIN = (DATA / "undated_queries.txt").read_text("utf-8").splitlines()


@pytest.mark.parametrize(("text", "start", "end", "rest"), DATED, ids=[row[0] for row in DATED])
def test_a_date_is_read_and_the_rest_stays(text: str, start: str, end: str, rest: str) -> None:
    found = find_date(text, TODAY)
    assert found is not None
    ends = [str(one or "") for one in (found.period.start, found.period.end)]
    left = f"{text[: found.start].rstrip()} {text[found.end :].lstrip()}".strip()
    assert [*ends, left] == [start, end, rest]


def test_few_words_that_look_like_dates_are_taken_for_them() -> None:
    wrong = [text for text in PLAIN if find_date(text, TODAY)]
    assert len(PLAIN) >= 120
    assert len(wrong) <= 3, wrong


@pytest.mark.parametrize(
    "text", ["31 February 2024", "2024-13-01", "45.67.2024", "二〇二四年十三月", "May 2031"]
)
def test_what_no_calendar_has_is_no_date(text: str) -> None:
    assert find_date(text, TODAY) is None


def test_the_last_summer_may_lie_in_last_year() -> None:
    found = find_date("last summer", date(2026, 3, 1))
    assert found is not None
    assert (found.period.start, found.period.end) == (date(2025, 6, 1), date(2025, 9, 1))


class Encoder(ItemEncoder):
    """Notes what it is asked for."""

    space = Space(2, {"model": "notes"})

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode_items(self, items: list[Item]) -> np.ndarray:  # type: ignore[override, type-arg]
        self.texts += [str(item.content) for item in items]
        return np.ones((len(items), 2), np.float32)


@pytest.fixture
def store() -> MemoryStore:
    """Photos of May and of June 2024, and a note without a date."""
    store = MemoryStore(2)
    times = {"may": datetime(2024, 5, 31, 23, tzinfo=UTC), "june": datetime(2024, 6, 1, tzinfo=UTC)}
    for name in ("may", "june", "note"):
        metadata = {"taken": times[name].timestamp()} if name in times else {}
        row = SegmentRow(f"{name}1", name, IMAGE, 0, np.ones(2, np.float32))
        store.write([AssetRow(name, IMAGE, "image/png", 1, 1, [f"/{name}"], metadata)], [row])
    return store


def asked(
    store: MemoryStore, text: str, understand: tuple[Reading, ...] = READINGS
) -> tuple[list[str], list[str], list[str]]:
    """What is found, encoded and understood."""
    encoder = Encoder()
    engine = SearchEngine(encoder, store, today=lambda: TODAY)
    result = engine.search(Query([Item(TEXT, text)], understand=understand))
    engine.close()
    return (
        sorted(hit.asset_id for hit in result.hits),
        encoder.texts,
        [one.text for one in result.understood],
    )


def test_a_date_becomes_a_filter_and_the_rest_is_encoded(store: MemoryStore) -> None:
    assert asked(store, "beach in May 2024") == (["may"], ["beach"], ["in May 2024"])
    assert asked(store, "北京 2024年5月") == (["may"], ["北京"], ["2024年5月"])


def test_a_query_that_is_only_a_date_is_encoded_whole(store: MemoryStore) -> None:
    assert asked(store, "June 2024") == (["june"], ["June 2024"], ["June 2024"])


def test_a_date_that_no_asset_has_stays_words(store: MemoryStore) -> None:
    found, encoded, understood = asked(store, "beach May 2019")
    assert (len(found), encoded, understood) == (3, ["beach May 2019"], [])


def test_a_date_beside_a_filter_that_leaves_nothing_stays_words(store: MemoryStore) -> None:
    from search.filters import parse_filter

    engine = SearchEngine(Encoder(), store, today=lambda: TODAY)
    outside = parse_filter({"field": "path", "prefix": "/june"})
    query = Query([Item(TEXT, "beach May 2024")], filter=outside, understand=READINGS)
    result = engine.search(query)
    assert ([hit.asset_id for hit in result.hits], list(result.understood)) == (["june"], [])
    engine.close()


def test_nothing_is_understood_unasked(store: MemoryStore) -> None:
    found, encoded, understood = asked(store, "beach May 2024", ())
    assert (len(found), encoded, understood) == (3, ["beach May 2024"], [])


KNOWN = known_names(
    {
        "Berlin",
        "München",
        "New York City",
        "Nice",
        "Essen",
        "Turkey",
        "北京",
        "北京市",
        "Paris",
        "Rom",
    }
)


@pytest.mark.parametrize(
    ("text", "name", "rest"),
    [
        ("sunset in Berlin", "Berlin", "sunset"),
        ("sunset in berlin", "Berlin", "sunset"),
        ("Sonnenuntergang Berlin", "Berlin", "Sonnenuntergang"),
        ("Biergarten in München im Regen", "München", "Biergarten im Regen"),
        ("berlin", "Berlin", ""),
        ("taxis in New York City", "New York City", "taxis"),
        ("Strand von Nice", "Nice", "Strand"),
        ("wedding in Turkey", "Turkey", "wedding"),
        ("Essen in Essen", "Essen", "Essen"),
        ("北京的雪", "北京", "雪"),
        ("北京 雪", "北京", "雪"),
        ("北京市", "北京市", ""),
    ],
)
def test_a_place_is_read_and_the_rest_stays(text: str, name: str, rest: str) -> None:
    found = find_place(text, KNOWN)
    assert found is not None
    assert (found[0], without(text, text[found[1] : found[2]].strip())) == (name, rest)


@pytest.mark.parametrize(
    "text",
    """turkey dinner;Turkey;roast turkey;nice;a nice view;Essen;Essen auf dem Tisch;Paris Hilton
    Berlin Wall documentary;北京烤鸭;die Stadt Romanshorn;in a nice place;essen""".replace(
        "\n", ";"
    ).split(";"),
)
def test_words_that_are_also_places_stay_words(text: str) -> None:
    assert find_place(text.strip(), KNOWN) is None


def test_a_place_of_the_library_becomes_a_filter(store: MemoryStore) -> None:
    row = store.assets(["may"])["may"]
    places = {"places": ["Beijing", "北京"], "latitude": 39.9, "longitude": 116.4}
    store.write([replace(row, metadata={**row.metadata, **places})], [])
    assert asked(store, "猫 北京 2024年5月") == (["may"], ["猫"], ["2024年5月", "北京"])
    assert asked(store, "a cat in Beijing", ("place",)) == (["may"], ["a cat"], ["in Beijing"])
    assert asked(store, "a cat in Beijing", ("date",))[2] == []
    assert asked(store, "a cat in Berlin")[1:] == (["a cat in Berlin"], [])


def test_hits_are_sorted_by_when_they_were_taken(store: MemoryStore) -> None:
    engine = SearchEngine(Encoder(), store)
    hits = engine.search(Query([Item(TEXT, "beach")], sort="-taken")).hits
    assert [hit.asset_id for hit in hits] == ["june", "may", "note"]
    engine.close()
