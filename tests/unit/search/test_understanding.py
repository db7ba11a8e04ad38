from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder.space import Space
from encoder.types import IMAGE, TEXT, Item
from search import Query, SearchEngine
from search.filters import parse_filter
from search.query.terms import ItemEncoder
from search.store.memory import MemoryStore
from search.types import READINGS, AssetRow, Reading, SearchResult, SegmentRow
from search.understanding.dates import find_date
from search.understanding.places import find_place, known_names
from search.understanding.understand import understand, without

ACROSS = np.array([1, 0], np.float32)
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
    assert len(wrong) <= 5, wrong  # years since 2000, such as "2012 movie poster", hide nothing


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
        row = SegmentRow(f"{name}1", name, IMAGE, 0, ACROSS)
        store.write(
            [AssetRow(name, IMAGE, "image/png", 1, {IMAGE: 1}, [f"/{name}"], metadata)], [row]
        )
    return store


def add_text(store: MemoryStore, name: str, *texts: str, path: str = "") -> None:
    """A document of these segments."""
    rows = [
        SegmentRow(f"{name}{n}", name, TEXT, n, ACROSS, char_start=n * 100, snippet=text)
        for n, text in enumerate(texts)
    ]
    store.write(
        [AssetRow(name, TEXT, "text/plain", 1, {TEXT: len(rows)}, [path or f"/{name}"])], rows
    )


def answer(
    store: MemoryStore, text: str, understand: tuple[Reading, ...] = READINGS, **options: Any
) -> tuple[SearchResult, list[str]]:
    """The answer to a text, and what was encoded for it."""
    encoder = Encoder()
    engine = SearchEngine(encoder, store, today=lambda: TODAY)
    query = Query([Item(TEXT, text)], understand=understand, explain=True, **options)
    result = engine.search(query)
    engine.close()
    return result, encoder.texts


def asked(
    store: MemoryStore, text: str, understand: tuple[Reading, ...] = READINGS
) -> tuple[list[str], list[str], list[str]]:
    """The hits that gain from what was understood, what was encoded, and what was understood."""
    result, texts = answer(store, text, understand)
    gaining = [hit.asset_id for hit in result.hits if hit.explanation and hit.explanation.evidence]
    assert [hit.asset_id for hit in result.hits[: len(gaining)]] == gaining, "others come first"
    return sorted(gaining), texts, [one.text for one in result.understood]


def listed(store: MemoryStore, text: str, **options: Any) -> list[str]:
    """All that is found for a question that has nothing else in it."""
    result, _ = answer(store, text, **options)
    assert all(one.only for one in result.understood)
    assert not any(hit.weak for hit in result.hits)
    return sorted(hit.asset_id for hit in result.hits)


def test_what_has_the_date_comes_first_and_nothing_is_hidden(store: MemoryStore) -> None:
    """The question is encoded with and without the date."""
    assert asked(store, "beach in May 2024") == (
        ["may"],
        ["beach in May 2024", "beach"],
        ["in May 2024"],
    )
    assert asked(store, "北京 2024年5月") == (["may"], ["北京 2024年5月", "北京"], ["2024年5月"])
    assert len(answer(store, "beach in May 2024")[0].hits) == 3


def test_a_question_that_is_only_a_date_lists_all_that_has_it(store: MemoryStore) -> None:
    add_text(store, "minutes", "Minutes", path="/2024-06 minutes.txt")
    add_text(store, "letter", "Berlin, 3. Juni 2024\nSehr geehrte Damen und Herren")
    add_text(store, "memoir", "My life", "In June 2024 I went fishing.")
    assert listed(store, "June 2024") == ["june", "letter", "minutes"]
    assert listed(store, "photos from June 2024") == ["june"]
    assert listed(store, "Alle Dokumente aus dem Juni 2024") == ["letter", "minutes"]
    assert listed(store, "2024年5月的照片") == ["may"]


@pytest.mark.parametrize(
    "text",
    """photos from june 2019;fotos aus dem juni 2019;2019年6月的照片;Berlin 2019;pics 2019
    北京的照片
    Zeig mir Bilder vom Sommer 2019;我2018年拍的照片;all photos I took in 2019;去年的照片
    Bilder, die ich 2019 gemacht habe;2019年在北京拍的照片;Berlin Fotos;my photos from last summer
    E-Mails vom März 2024;everything from march 2024;photos between 2018 and 2020
    所有2019年的视频""".replace("\n", ";").split(";"),
)
def test_questions_for_all_of_a_time_or_place(text: str) -> None:
    assert understand(Query([Item(TEXT, text.strip())], understand=READINGS), KNOWN, TODAY).is_all


@pytest.mark.parametrize(
    "text", ["invoices 2019", "Rechnungen aus 2019", "screenshots from Berlin", "2019年的发票"]
)
def test_questions_for_a_part_are_none_of_these(text: str) -> None:
    assert not understand(Query([Item(TEXT, text)], understand=READINGS), KNOWN, TODAY).is_all


def test_all_of_a_kind_that_nobody_has_of_that_time_are_only_preferred(store: MemoryStore) -> None:
    result, _ = answer(store, "videos from May 2024")
    assert result.hits[0].asset_id == "may"
    assert len(result.hits) == 3
    assert [one.only for one in result.understood] == [False]


def test_all_that_has_a_date_is_listed_over_several_pages(store: MemoryStore) -> None:
    for n in range(5):
        add_text(store, f"minutes{n}", "Minutes", path=f"/2024-06-0{n + 1}.txt")
    found, cursor = list[str](), ""
    while cursor or not found:
        result, _ = answer(store, "June 2024", limit=2, cursor=cursor)
        found += [hit.asset_id for hit in result.hits]
        cursor = result.next_cursor
    assert sorted(found) == ["june", *(f"minutes{n}" for n in range(5))]


@pytest.mark.parametrize(
    "text",
    ["Invoice of 12.5.2024", "Date: Sun, 12 May 2024 08:00:00 +0000", "2024年5月12日 会议纪要"],
)
def test_a_text_that_holds_the_date_has_it(store: MemoryStore, text: str) -> None:
    add_text(store, "dated", text)
    add_text(store, "other", text.replace("2024", "2023"))
    assert asked(store, "paper of May 2024")[0] == ["dated", "may"]
    assert asked(store, "paper of 12 May 2024")[0] == ["dated"]
    assert asked(store, "paper of 2024")[0] == ["dated", "june", "may"]
    assert asked(store, "paper of 13 May 2024") == ([], ["paper of 13 May 2024"], [])


def test_a_date_at_the_head_of_a_document_dates_all_of_it(store: MemoryStore) -> None:
    add_text(store, "long", "Minutes of 7 March 2023", "We buy a boat.", "We sell a car.")
    add_text(store, "book", "A book", "On 7 March 2023 it rained.", "It was cold.")
    result, _ = answer(store, "boat, March 2023", group_by="segment")
    gains = {hit.segment_id: hit.explanation.evidence for hit in result.hits if hit.explanation}
    assert {key for key, gain in gains.items() if gain} == {"long0", "long1", "long2", "book1"}
    assert gains["long2"] > gains["book1"], "a mention is less"


def test_a_name_that_holds_the_date_has_it(store: MemoryStore) -> None:
    for n, path in enumerate(
        ("/IMG-20230614-WA0003.jpg", "/2023/06/a.jpg", "/Juni 2023/b.jpg", "/2023_07.jpg")
    ):
        row = SegmentRow(f"{n}", f"p{n}", IMAGE, 0, ACROSS)
        store.write([AssetRow(f"p{n}", IMAGE, "image/jpeg", 1, {IMAGE: 1}, [path])], [row])
    assert asked(store, "beach June 2023")[0] == ["p0", "p1", "p2"]
    hidden, _ = answer(store, "beach June 2023", folder_names=False)
    gaining = [hit.asset_id for hit in hidden.hits if hit.explanation and hit.explanation.evidence]
    assert gaining == ["p0"]


def test_the_day_when_an_office_file_was_made_is_one_of_its_names(store: MemoryStore) -> None:
    add_text(store, "made", "Minutes")
    row = store.assets(["made"])["made"]
    store.write([replace(row, metadata={"created": "2021-03-04"})], [])
    assert asked(store, "minutes of March 2021")[0] == ["made"]


def test_a_name_with_a_date_in_it_is_found_whole(store: MemoryStore) -> None:
    add_text(store, "best", "A list.", path="/best of May 2024.txt")
    result, _ = answer(store, "best of May 2024")
    assert result.hits[0].asset_id == "best"
    add_text(store, "video", "A list.", path="/VID 2022.txt")
    assert answer(store, "VID 2022")[0].hits[0].asset_id == "video"


def test_only_what_has_the_date_where_that_is_asked_for(store: MemoryStore) -> None:
    result, _ = answer(store, "beach in May 2024", only=("date",))
    assert [hit.asset_id for hit in result.hits] == ["may"]
    assert [one.only for one in result.understood] == [True]


def test_more_than_can_be_listed_by_their_ids_still_gain(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.understanding.evidence._MOST_ASSETS", 1)
    assert asked(store, "beach in 2024")[0] == ["june", "may"]
    assert listed(store, "photos of 2024") == ["june", "may"]


def test_a_date_that_no_asset_has_stays_words(store: MemoryStore) -> None:
    assert asked(store, "beach May 2019") == ([], ["beach May 2019"], [])


def test_a_date_beside_a_filter_that_leaves_nothing_stays_words(store: MemoryStore) -> None:
    add_text(store, "note2", "In May 2024")
    outside = parse_filter({"field": "path", "prefix": "/june"})
    result, _ = answer(store, "beach May 2024", filter=outside)
    assert ([hit.asset_id for hit in result.hits], list(result.understood)) == (["june"], [])


def test_nothing_is_understood_unasked(store: MemoryStore) -> None:
    result, encoded = answer(store, "beach May 2024", ())
    assert (len(result.hits), encoded, result.understood) == (3, ["beach May 2024"], [])


KNOWN = known_names(
    [
        ["Berlin"],
        ["Munich", "München", "慕尼黑"],
        ["New York City"],
        ["Nice"],
        ["Essen"],
        ["Turkey"],
        ["北京", "北京市"],
        ["Paris"],
        ["Rom"],
    ]
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
        ("traffic sign new york city", "New York City", "traffic sign"),
        ("Berlin at night", "Berlin", "at night"),
        ("train ticket to Munich 2023", "Munich", "train ticket 2023"),
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


def test_a_place_of_the_library_is_looked_for(store: MemoryStore) -> None:
    row = store.assets(["may"])["may"]
    places = {"places": ["Beijing", "北京"], "city": "Beijing"}
    where = {"latitude": 39.9, "longitude": 116.4}
    store.write([replace(row, metadata={**row.metadata, **places, **where})], [])
    add_text(store, "ticket", "Train to Beijing")
    everything = "猫 北京 2024年5月"
    assert asked(store, everything) == (
        ["may", "ticket"],
        [everything, "猫"],
        ["2024年5月", "北京"],
    )
    assert asked(store, "a cat in Beijing", ("place",))[0] == ["may", "ticket"]
    assert asked(store, "a cat in Beijing", ("date",))[2] == []
    assert asked(store, "a cat in Berlin")[1:] == (["a cat in Berlin"], [])
    assert listed(store, "Beijing 2024") == ["may"]


def test_hits_are_sorted_by_when_they_were_taken(store: MemoryStore) -> None:
    engine = SearchEngine(Encoder(), store)
    hits = engine.search(Query([Item(TEXT, "beach")], sort="-taken")).hits
    assert [hit.asset_id for hit in hits] == ["june", "may", "note"]
    engine.close()
