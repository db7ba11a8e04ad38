"""In every store, what a filter names that no asset has is said, with the nearest name."""

from __future__ import annotations

from typing import Any

from encoder.types import IMAGE, TEXT, Modality
from search.filters import parse_filter, within
from search.query.unmatched import unmatched
from search.store.base import VectorStore
from search.store.visible import Visible
from search.types import AssetRow


def row(asset_id: str, modality: Modality, **metadata: Any) -> AssetRow:
    return AssetRow(asset_id, modality, "x/y", 7, {modality: 1}, [f"/d/{asset_id}"], metadata)


ROWS = [
    row("a1", IMAGE, tags=["beach", "sun"], city="Roma", rating=4, project={"name": "x"}),
    row("a2", TEXT, language="en", year="2024", page=3, tags=["work"]),
    row("a3", TEXT, language="de", year="2023"),
]


def warnings(store: VectorStore, data: object) -> list[str]:
    filter = parse_filter(data)
    is_empty = next(iter(store.select(filter, limit=1)), None) is None
    return unmatched(filter, store, is_empty=is_empty)


SAID: list[tuple[object, list[str]]] = [
    ("tags = “baech”", ["baech", "beach"]),
    ("language=english", ["english", "'en'", "'de'"]),
    ("language=EN", ["'en'"]),
    ("modality = picture", ["picture", "image", "text"]),
    ("city=Rom", ["Roma"]),
    ("rating = 5", ["5", "rating"]),
    ("metadata.yaer=2024", ["metadata.yaer", "metadata.year"]),
    ("metadata.project.nam=x", ["metadata.project.name"]),
    ("metadata.year=2024", ["metadata.year", "texts", "'20"]),
    ("metadata.year > 2000", ["metadata.year", "texts"]),
    ('metadata.page="3"', ["metadata.page", "numbers", "3"]),
    ("duration_s > 5", ["duration_s"]),
    ("path = /d/a9", ["/d/a9"]),
    ({"field": "path", "prefix": "/e"}, ["/e"]),
    # what finds others in silence
    ({"or": ["tags=baech", "language=en"]}, ["baech", "beach"]),
    ({"not": "tags=baech"}, ["baech", "beach"]),
    ("metadata.yaer != x", ["metadata.year"]),
    ("language != english", ["english", "'en'"]),
    ({"field": "language", "nin": ["dee", "fr"]}, ["dee", "'de'"]),
    ({"field": "metadata.yaer", "exists": False}, ["metadata.year"]),
]


def test_what_no_asset_has_is_said(store: VectorStore) -> None:
    store.write(ROWS, [])
    for data, names in SAID:
        said = " ".join(warnings(store, data))
        assert not [name for name in names if name not in said], (data, said)


RIGHT: list[object] = [
    "tags=beach",
    {"and": ["tags=beach", "language=en"]},  # each is there, though not together
    "rating >= 5",  # a bound
    "metadata.page < 1",
    {"field": "city", "contains": "ris"},  # a part
    {"field": "language", "in": ["en", "fr", "pt"]},
    {"field": "taken", "exists": True},
    {"not": "language=en"},
]


def test_what_is_there_is_no_warning(store: VectorStore) -> None:
    store.write(ROWS, [])
    for data in RIGHT:
        assert warnings(store, data) == [], data


def test_nothing_is_said_of_what_the_sender_may_not_see(store: VectorStore) -> None:
    store.write(ROWS, [])
    for data in ("tags=sunn", "metadata.projec.name=x", "city=Rom", "rating=4", "modality=imag"):
        (said,) = warnings(Visible(store, parse_filter("modality=text")), data)
        for hidden in ("sun'", "project", "Roma", "image"):
            assert hidden not in said
    under = within(parse_filter("path=x"), ("/d/",))
    assert unmatched(under, store, is_empty=True) == []
    assert unmatched(None, store, is_empty=True) == []
