"""Filters give the same assets in every store: those for which `matches` holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from encoder.types import IMAGE, TEXT
from search.filters import And, Compare, Filter, Not, Operator, Or, matches, parse_filter, within
from search.filters.tree import FIELDS, ORDER, FieldKind, kind_of
from search.store.base import VectorStore
from search.store.milvus.store import MilvusStore
from search.types import AssetRow
from tests.contract.rows import knows_words, segment, vectors

ROWS = [
    AssetRow(
        "a1",
        IMAGE,
        "image/png",
        10,
        {IMAGE: 1},
        ["/data/photos/a.png", "/copy/a.png"],
        {"title": "Beach", "tags": ["sea", "sun"], "width": 640, "license": "CC0"},
    ),
    AssetRow(
        "a2",
        IMAGE,
        "image/jpeg",
        2000,
        {IMAGE: 1},
        ["/data/photos2/b.jpg"],
        {"title": "b", "width": 32.5},
    ),
    AssetRow(
        "a3",
        TEXT,
        "text/plain",
        7,
        {TEXT: 1},
        ['/data/it\'s "q".txt'],
        {"language": "en", "modified": 1767225600.0, "camera": {"flash": True, "iso": "100"}},
    ),
    AssetRow(
        "a4",
        TEXT,
        "text/plain",
        0,
        {},
        ["/d"],
        {"language": None, "tags": [], "width": "9", "mixed": [-1, 2.0, 3, True, "x%_y", None]},
    ),
]

FILTERS = [
    ({"field": "modality", "eq": "image"}, "a1 a2"),
    ({"field": "media_type", "prefix": "image/"}, "a1 a2"),
    ({"field": "media_type", "contains": "plain"}, "a3 a4"),
    ({"field": "size_bytes", "gt": 6.5, "lte": 10}, "a1 a3"),
    ({"field": "size_bytes", "in": [0, 2000, 3.5]}, "a2 a4"),
    ({"field": "path", "prefix": "/data/photos"}, "a1 a2"),
    ({"field": "path", "prefix": "/data/photos/"}, "a1"),
    ({"field": "path", "prefix": ""}, "a1 a2 a3 a4"),
    ({"field": "path", "eq": "/copy/a.png"}, "a1"),
    ({"field": "path", "ne": "/copy/a.png"}, "a2 a3 a4"),
    ({"field": "path", "contains": 's "q"'}, "a3"),
    ({"not": {"field": "path", "prefix": "/data/"}}, "a4"),
    ({"field": "tags", "contains": "sea"}, "a1"),
    ({"field": "tags", "exists": True}, "a1 a4"),
    ({"not": {"field": "tags", "contains": "sea"}}, "a2 a3 a4"),
    ({"field": "width", "gte": 32.5}, "a1 a2"),
    ({"field": "width", "ne": 640}, "a2 a4"),
    ({"field": "language", "ne": "de"}, "a3"),
    ({"field": "language", "exists": False}, "a1 a2 a4"),
    ({"not": {"field": "language", "eq": "en"}}, "a1 a2 a4"),
    ({"field": "modified", "gte": "2026-01-01"}, "a3"),
    ({"field": "modified", "gt": "2026-01-01T00:00:00+00:00"}, ""),
    ({"field": "metadata.camera.flash", "eq": True}, "a3"),
    ({"field": "metadata.camera.iso", "eq": 100}, ""),
    ({"field": "metadata.camera.iso", "in": ["100", 100]}, "a3"),
    ({"field": "metadata.camera", "exists": True}, "a3"),
    ({"field": "metadata.mixed", "contains": -1}, "a4"),
    ({"field": "metadata.mixed", "contains": 1}, ""),
    ({"field": "metadata.mixed", "contains": 2}, "a4"),
    ({"field": "metadata.mixed", "contains": 3.0}, "a4"),
    ({"field": "metadata.mixed", "contains": 2.5}, ""),
    ({"field": "metadata.mixed", "contains": True}, "a4"),
    ({"field": "metadata.mixed", "contains": "x%_y"}, "a4"),
    ({"field": "metadata.mixed.0", "exists": True}, ""),
    ({"field": "title", "contains": "eac"}, "a1"),
    ({"field": "title", "contains": "%"}, ""),
    ({"or": [{"field": "title", "eq": "b"}, {"field": "title", "gt": "Be", "lt": "C"}]}, "a1 a2"),
    (
        {
            "and": [
                {"field": "modality", "in": ["image", "video"]},
                {"or": [{"field": "tags", "contains": "sun"}, {"field": "width", "lt": 33}]},
                {"not": {"field": "metadata.license", "eq": "CC0"}},
            ]
        },
        "a2",
    ),
]


@pytest.mark.parametrize(("data", "wanted"), FILTERS, ids=[str(data) for data, _ in FILTERS])
def test_the_oracle_finds_what_is_meant(data: object, wanted: str) -> None:
    found = [row.asset_id for row in ROWS if matches(parse_filter(data), row)]
    assert " ".join(found) == wanted


@pytest.mark.slow
def test_a_selection_goes_on_where_it_ended(store: VectorStore) -> None:
    store.write([replace(ROWS[0], asset_id=f"a{number:04}") for number in range(2100)], [])
    some = parse_filter({"or": [{"field": "size_bytes", "lt": 5}, {"field": "width", "gt": 600}]})
    for filter in (some, None):
        every = list(store.select(filter))
        assert every == [f"a{number:04}" for number in range(2100)]
        assert list(store.select(filter, limit=3, after="a0010")) == ["a0011", "a0012", "a0013"]
        assert list(store.select(filter, limit=1500)) == every[:1500]
        assert list(store.select(filter, after="a2098")) == ["a2099"]


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ({"field": "path", "prefix": ""}, "a1 a2"),
        ({"field": "path", "prefix": "copy/"}, "a1"),
        ({"field": "path", "in": ["b.png", "none"]}, "a2"),
        ({"field": "path", "contains": "b.p"}, "a2"),
        ({"field": "path", "contains": "data"}, ""),
        ({"field": "path", "ne": "b.png"}, "a1"),
        ({"field": "path", "exists": False}, "a3"),
        ({"not": {"field": "path", "prefix": "copy/"}}, "a2 a3"),
    ],
)
def test_paths_within_folders_are_selected(store: VectorStore, data: object, wanted: str) -> None:
    places = {"a1": ["/data/x/copy/a.png", "/home/a.png"], "a2": ["/data/y/b.png"], "a3": ["/c"]}
    store.write([replace(ROWS[0], asset_id=a, locations=uris) for a, uris in places.items()], [])
    filter = within(parse_filter(data), ("/data/x/", "/data/y/"))
    assert " ".join(store.select(filter)) == wanted


def test_an_asset_in_more_folders_than_are_kept_is_found(store: VectorStore) -> None:
    uris = [f"/{n}/{n}/x" for n in range(3000)]
    store.write([replace(ROWS[0], locations=uris), replace(ROWS[1], locations=["/1/y"])], [])
    assert list(store.select(parse_filter({"field": "path", "prefix": "/1/"}))) == ["a1", "a2"]
    assert list(store.select(parse_filter({"field": "path", "prefix": "/2999/2"}))) == ["a1"]


def test_every_store_selects_what_the_oracle_finds(store: VectorStore) -> None:
    store.write(ROWS, [])
    for data, wanted in FILTERS:
        filter = parse_filter(data)
        assert " ".join(store.select(filter)) == wanted, data
        assert " ".join(store.select(filter, limit=1)) == wanted[:2]
        assert " ".join(row.asset_id for row in store.scan(filter)) == wanted
        assert store.count(filter) >= len(wanted.split())
    assert store.count() == len(ROWS)


def test_rows_are_read_page_by_page_by_their_keys(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write([replace(ROWS[0], asset_id=f"a{number:02}") for number in range(30)], [])
    calls: list[str] = []
    waiting: list[str] = []
    if isinstance(store, MilvusStore):
        call = store._link.call
        is_old = store._link.orders_pages

        def heard(*asked: Any, **options: Any) -> Any:
            calls.append(asked[0])
            waiting.extend(options.keys() & {"iterator"} if is_old else ())
            return call(*asked, **options)

        monkeypatch.setattr("search.store.milvus.rows.MAX_ROWS", 7)
        monkeypatch.setattr("search.store.milvus.rows._WIDE_ROWS_PER_PAGE", 4)
        monkeypatch.setattr(store._link, "call", heard)
    every = [f"a{number:02}" for number in range(30)]
    assert list(store.select(None)) == every
    assert list(store.select(parse_filter({"field": "tags", "contains": "sun"}))) == every
    assert [row.asset_id for row in store.scan()] == every
    assert set(calls) <= {"query"}  # Milvus's iterator waits for a time tick on every page
    assert not waiting  # and so does each read of Milvus 2.3 that is declared part of an iterator
    del calls[:]
    assert list(store.select(None, limit=3, after="a10")) == ["a11", "a12", "a13"]
    assert calls in ([], ["query"])


NARROWED = [
    {"field": "modality", "eq": "image"},
    {"field": "media_type", "prefix": "image/"},
    {"field": "size_bytes", "gt": 6.5, "lte": 10},
    {"field": "path", "prefix": "/data/photos/"},
    {"field": "tags", "contains": "sea"},
    {"field": "width", "gte": 32.5},
    {"field": "width", "lt": 33},
    {"field": "language", "eq": "en"},
    {"field": "modified", "gte": "2026-01-01"},
]


def test_filters_are_part_of_searches(store: VectorStore) -> None:
    rows = [replace(row, counts={row.modality: 2}) for row in ROWS]
    store.write(
        rows,
        [
            segment(row.asset_id, index, vector, TEXT, snippet="common")
            for row in ROWS
            for index, vector in enumerate(vectors(2))
        ],
    )
    for data in NARROWED:
        filter = parse_filter(data)
        wanted = set(store.select(filter))
        (found,) = store.search(vectors(1), [TEXT], 20, filter=filter)
        assert {hit.asset_id for hit in found} == wanted, data
        assert len(found) == 2 * len(wanted)
        (mixed,) = store.search(vectors(1), {TEXT, IMAGE}, 20, filter=filter)
        assert {hit.asset_id for hit in mixed} == wanted, data
        if knows_words(store):
            words = store.lexical("common", 20, filter=filter)
            assert {hit.asset_id for hit in words} == wanted, data


def test_segments_follow_what_their_asset_becomes(store: VectorStore) -> None:
    here = parse_filter({"field": "path", "prefix": "/new/"})
    store.write([], [segment("a1", 0, vectors(1)[0])])  # whose commit row comes later
    store.write([replace(ROWS[0], locations=["/new/a.png"])], [])
    store.write([ROWS[1]], [segment("a2", 0, vectors(1)[0])])

    def found() -> set[str]:
        return {hit.asset_id for hit in store.search(vectors(1), [IMAGE], 5, filter=here)[0]}

    assert found() == {"a1"}
    store.write([replace(ROWS[1], locations=["/new/b.png"])], [])
    assert found() == {"a1", "a2"}
    store.write([ROWS[0]], [])
    assert found() == {"a2"}


def test_filters_hold_after_the_last_asset_is_deleted(store: VectorStore) -> None:
    rows = vectors(4)
    for number, row in enumerate(ROWS):
        image = replace(row, modality=IMAGE)
        store.write([image], [segment(row.asset_id, 0, rows[number])])
    store.delete([ROWS[-1].asset_id])
    for tag, wanted in (("sea", ["a1"]), ("none", [])):
        tagged = parse_filter({"field": "tags", "contains": tag})
        (found,) = store.search(rows[:1], [IMAGE], 5, filter=tagged)
        assert [hit.asset_id for hit in found] == wanted


N_ROWS = 15
HOSTILE = [
    "",
    "a",
    "ab",
    "b",
    "5",
    "true",
    "%",
    "a%_b",
    "\\",
    '\\"',
    '"] || true || metadata["k',
    "' or asset_id != '",
    "{}[]()",
    "é\n\r\t\x00\x7f\u2028",
    "海のa",
    "\ud7ff",
    "\U0010ffff",
    "b\U0010ffff",
    "not exists",
    '["a"]',
]
KEYS = ["k", "a b", "ü", "0", "x-y", "and"]
texts = st.sampled_from(HOSTILE) | st.text(st.sampled_from('ab%_"\\é海'), max_size=3)
numbers = st.sampled_from([0, 1, -1, 1.0, 5, 5.5, -0.5, 1e-7, 2**53, -(2**53), 0.1]) | st.floats(
    -1e6, 1e6
)
scalars = texts | numbers | st.booleans()
json_values = st.recursive(
    scalars | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2)
    ),
    max_leaves=4,
)
paths = st.lists(st.sampled_from(["data", "da", 'q"', "é", "a.png", ""]), min_size=1, max_size=4)
uris = paths.map(lambda parts: "/" + "/".join(parts)) | st.just("https://x.org/a")
metadata_fields = st.lists(st.sampled_from(KEYS), min_size=1, max_size=2).map(
    lambda keys: "metadata." + ".".join(keys)
)
fields = st.sampled_from(list(FIELDS)) | metadata_fields


@st.composite
def assets(draw: st.DrawFn, number: int) -> AssetRow:
    known = ["title", "language", "tags", "width", "duration_s", "modified", *KEYS]
    metadata = draw(st.dictionaries(st.sampled_from(known), json_values, max_size=4))
    modality = draw(st.sampled_from([IMAGE, TEXT]))
    return AssetRow(
        f"a{number:02}",
        modality,
        draw(texts),
        draw(st.integers(0, 6)),
        {modality: 1},
        draw(st.lists(uris, min_size=1, max_size=3, unique=True)),
        metadata,
    )


def value_of(draw: st.DrawFn, kind: FieldKind, operator: Operator) -> Any:
    if kind is FieldKind.PATHS:
        return draw(uris | uris.map(lambda uri: uri[: len(uri) // 2]))
    if operator is Operator.PREFIX or kind in (FieldKind.TEXT, FieldKind.TEXTS):
        return draw(texts | st.sampled_from(["image", "text", "im"]))
    if kind in (FieldKind.NUMBER, FieldKind.TIME):
        return draw(numbers)
    return draw(texts | numbers if operator in ORDER else scalars)


@st.composite
def comparisons(draw: st.DrawFn) -> Compare:
    field = draw(fields)
    kind = kind_of(field)
    operators = {
        FieldKind.NUMBER: [*Operator][:8],
        FieldKind.TIME: [*Operator][:8],
        FieldKind.TEXTS: [Operator.CONTAINS],
        FieldKind.PATHS: [o for o in Operator if o not in ORDER and o is not Operator.EXISTS],
    }.get(kind, [*Operator][:10])
    operator = draw(st.sampled_from([*operators, Operator.EXISTS]))
    if operator is Operator.EXISTS:
        return Compare(field, operator, draw(st.booleans()))
    if operator in (Operator.IN, Operator.NIN):
        n_values = draw(st.integers(1, 4))
        return Compare(
            field, operator, tuple(value_of(draw, kind, operator) for _ in range(n_values))
        )
    return Compare(field, operator, value_of(draw, kind, operator))


def joined(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return several.map(And) | several.map(Or) | inner.map(Not)


filters: st.SearchStrategy[Filter] = st.recursive(comparisons(), joined, max_leaves=5)
corpora = st.tuples(*map(assets, range(N_ROWS)))


@pytest.mark.slow
@settings(
    max_examples=10,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=corpora, asked=st.lists(filters, min_size=12, max_size=12))
def test_a_store_selects_what_matches(
    store: VectorStore, rows: tuple[AssetRow, ...], asked: list[Filter]
) -> None:
    segments = [segment(row.asset_id, 0, vectors(1)[0], TEXT) for row in rows]
    store.write(rows, segments)  # the same ids each time, so no earlier rows are left
    stored = list(store.scan())
    for filter in asked:
        wanted = [row.asset_id for row in stored if matches(filter, row)]
        assert list(store.select(filter)) == wanted, filter
        assert store.count(filter) >= len(wanted)
        (found,) = store.search(vectors(1), [TEXT], N_ROWS, filter=filter)
        assert {hit.asset_id for hit in found} >= set(wanted), filter
