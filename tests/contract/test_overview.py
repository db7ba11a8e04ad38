"""Counts and the order of dates are the same in every store."""

from __future__ import annotations

from dataclasses import replace

from encoder.types import IMAGE, TEXT
from search.filters import parse_filter
from search.store import overview
from search.store.base import VectorStore
from search.store.overview import FIRST, LAST, Dated, dated_of
from search.types import AssetRow
from tests.contract.rows import segment, vectors

MAY, JUNE = 1_715_970_600, 1_717_200_000
ROWS = [
    AssetRow("a1", IMAGE, "image/png", 1, 1, ["/d/x/1.png", "/d/y/1.png"],
             {"tags": ["sea", "sun", "sea"], "city": "Munich", "country": "Germany",
              "taken": MAY + 0.75, "modified": JUNE}),
    AssetRow("a2", IMAGE, "image/png", 1, 1, ["/d/x/2.png"],
             {"tags": ["sea"], "city": 5, "country": "Germany", "taken": MAY}),
    AssetRow("a3", TEXT, "text/plain", 1, 1, ["s3://b/3.txt"], {"taken": "?", "modified": JUNE}),
    AssetRow("a4", TEXT, "text/plain", 1, 1, ["4.txt"], {"modified": None}),
    AssetRow("a5", TEXT, "text/plain", 1, 1, ["/d/5.txt"], {"modified": -86_400.5}),
]  # fmt: skip


def fill(store: VectorStore) -> None:
    """Also with segments that have no commit row yet."""
    store.write(ROWS, [segment("later", 0, vectors(1)[0])])


def test_values_folders_and_months_are_counted(store: VectorStore) -> None:
    fill(store)
    found = overview.facets(store, None)
    assert found.assets == 5
    assert found.values == {
        "modality": {"image": 2, "text": 3},
        "tags": {"sea": 2, "sun": 1},
        "country": {"Germany": 2},
        "city": {"Munich": 1},
    }
    assert found.folders == {"/d/": 1, "/d/x/": 2, "/d/y/": 1, "s3://b/": 1}
    assert found.months == {"1969-12": 1, "2024-05": 2, "2024-06": 1}

    few = overview.facets(store, parse_filter({"field": "tags", "contains": "sun"}))
    assert (few.assets, few.values["tags"]) == (1, {"sea": 1, "sun": 1})
    assert few.folders == {"/d/x/": 1, "/d/y/": 1}
    assert few.months == {"2024-05": 1}
    store.write([replace(ROWS[1], metadata={"tags": ["sun"]})], [])
    assert overview.facets(store, None).values["tags"] == {"sea": 1, "sun": 2}
    none = overview.facets(store, parse_filter({"field": "title", "eq": "-"}))
    assert (none.assets, none.values["modality"], none.folders, none.months) == (0, {}, {}, {})


def test_the_newest_come_first_and_what_has_no_date_last(store: VectorStore) -> None:
    fill(store)
    order = ["a3", "a2", "a1", "a5", "a4"]
    found = overview.newest(store, None, 9, FIRST)
    assert [one.asset_id for one in found] == order
    for at, one in enumerate(found):
        rest = overview.newest(store, None, 2, dated_of(one.cursor))
        assert [other.asset_id for other in rest] == order[at + 1 : at + 3]
    before_june = overview.newest(store, None, 1, Dated(JUNE, ""))
    assert [one.asset_id for one in before_june] == ["a2"]
    texts = parse_filter({"field": "modality", "eq": "text"})
    assert [one.asset_id for one in overview.newest(store, texts, 2, FIRST)] == ["a3", "a5"]


def test_what_is_newer_than_a_place_comes_nearest_first(store: VectorStore) -> None:
    fill(store)
    order = ["a4", "a5", "a1", "a2", "a3"]
    found = overview.newest(store, None, 9, LAST, reverse=True)
    assert [one.asset_id for one in found] == order
    for at, one in enumerate(found):
        rest = overview.newest(store, None, 2, dated_of(one.cursor), reverse=True)
        assert [other.asset_id for other in rest] == order[at + 1 : at + 3]
    since_june = overview.newest(store, None, 9, Dated(JUNE, ""), reverse=True)
    assert [one.asset_id for one in since_june] == ["a3"]
    texts = parse_filter({"field": "modality", "eq": "text"})
    since = overview.newest(store, texts, 9, Dated(-86_400, ""), reverse=True)
    assert [one.asset_id for one in since] == ["a5", "a3"]
