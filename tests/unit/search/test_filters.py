"""The language of filters, the errors of wrong ones, and paths within folders."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.errors import InputError
from encoder.types import IMAGE
from search.filters import (
    And,
    Compare,
    Filter,
    Not,
    Operator,
    Or,
    Under,
    asks_for_paths,
    matches,
    parse_filter,
    within,
)
from search.types import AssetRow

ONE = {"field": "title", "eq": "x"}
EQ = Compare("title", Operator.EQ, "x")


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (ONE, EQ),
        ({"and": [ONE]}, And((EQ,))),
        ({"or": [ONE, ONE]}, Or((EQ, EQ))),
        ({"not": ONE}, Not(EQ)),
        (
            {"field": "width", "gte": 1, "lt": 2.5},
            And((Compare("width", Operator.GTE, 1), Compare("width", Operator.LT, 2.5))),
        ),
        ({"field": "modified", "gt": "1970-01-02"}, Compare("modified", Operator.GT, 86400.0)),
        (
            {"field": "modified", "gt": "1970-01-01T01:00:00+01:00"},
            Compare("modified", Operator.GT, 0.0),
        ),
        ({"field": "modified", "in": [5]}, Compare("modified", Operator.IN, (5,))),
        ({"field": "tags", "eq": "x"}, Compare("tags", Operator.CONTAINS, "x")),
        ('{"field": "title", "eq": "x"}', EQ),
        ({"and": ["title=x"]}, And((EQ,))),
    ],
)
def test_json_becomes_a_tree(data: object, wanted: Filter) -> None:
    assert parse_filter(data) == wanted


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "filter: got an empty list. Expected an object"),
        ({}, "filter: got the keys"),
        ({"and": []}, r"filter.and: got an empty list"),
        ({"and": [ONE], "or": [ONE]}, "filter: got the keys and, or"),
        ({"not": [ONE]}, r"filter.not: got a list"),
        ({"or": [ONE, {"field": "titel", "eq": "x"}]}, r"filter.or\[1\].field: got 'titel'.*title"),
        ({"field": "title"}, "filter: got the keys field"),
        ({"field": "title", "like": "x"}, "filter: got the operator 'like'. Expected eq, ne"),
        ({"field": "title", "eq": 5}, "filter.eq: got 5. Expected a string"),
        ({"field": "title", "eq": None}, "filter.eq: got None"),
        ({"field": "title", "eq": ["x"]}, "filter.eq: got .*Expected one value"),
        ({"field": "title", "in": "x"}, "filter.in: got 'x'. Expected a list"),
        ({"field": "title", "in": []}, "filter.in: got"),
        ({"field": "title", "exists": 1}, "filter.exists: got 1. Expected true or false"),
        ({"field": "title", "eq": "x" * 5000}, "filter.eq"),
        ({"field": "title", "eq": "\ud800"}, "filter.eq"),
        ({"field": "width", "eq": True}, "filter.eq: got True. Expected a number"),
        ({"field": "width", "eq": 2**60}, "2\\*\\*53"),
        ({"field": "width", "eq": float("nan")}, "filter.eq: got nan"),
        ({"field": "width", "prefix": "1"}, "filter.width: got the operator prefix"),
        ({"field": "tags", "in": ["x"]}, "filter.tags: got the operator in. Expected contains"),
        ({"field": "tag", "eq": "x"}, "filter.field: got 'tag'. Expected tags"),
        ("langauge=en", "got 'langauge'. Expected language"),
        ("tags", "filter: got 'tags'. Expected FIELD=VALUE"),
        ("=x", "filter: got '=x'"),
        ("{", "filter: got '{'.*JSON"),
        ("rating = many", "filter.eq: got 'many'. Expected a number"),
        ({"or": ["title=x", "rating=many"]}, r"filter.or\[1\].eq: got 'many'"),
        ({"field": "modified", "gt": "yesterday"}, "filter.gt: got 'yesterday'. Expected an ISO"),
        ({"field": "metadata.x", "prefix": 5}, "filter.prefix: got 5. Expected a string"),
        ({"field": "metadata.x", "gt": True}, "filter.gt: got True"),
        ({"field": "metadata.x", "eq": {"y": 1}}, "filter.eq"),
        ({"field": 'metadata.x"] || true', "eq": 1}, "filter.field"),
        ({"field": "metadata.", "eq": 1}, "filter.field"),
        ({"field": "metadata.x\n", "eq": 1}, "filter.field"),
        ({"field": "metadata" + ".x" * 9, "eq": 1}, "filter.field"),
        ({"or": [ONE] * 257}, "256 conditions at most"),
    ],
)
def test_what_is_no_filter_is_refused_with_its_place(data: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_filter(data)


@pytest.mark.parametrize("field", ["title", "metadata.x", "tags"])
@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("{}=beach", "beach"),
        ("{} = beach", "beach"),
        ('{}="beach"', "beach"),
        ("{} == 'beach day' ", "beach day"),
        ("{}=“beach”", "beach"),
        ("{} = „Strand“", "Strand"),
        ("{}=«plage»", "plage"),
        ("{}=「海」", "海"),
        ("{}='it's'", "it's"),
        ('{}=5" disk', '5" disk'),
        ('{}=a="b"', 'a="b"'),
        ('{}=""', ""),
        ('{}="2024"', "2024"),
    ],
)
def test_conditions_are_read_as_people_write_them(field: str, written: str, value: str) -> None:
    operator = Operator.CONTAINS if field == "tags" else Operator.EQ
    assert parse_filter(written.format(field)) == Compare(field, operator, value)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("rating >= 4", Compare("rating", Operator.GTE, 4)),
        ('rating="4"', Compare("rating", Operator.EQ, 4)),
        ("title=2024", Compare("title", Operator.EQ, "2024")),
        ("metadata.year=2024", Compare("metadata.year", Operator.EQ, 2024)),
        ("metadata.done=true", Compare("metadata.done", Operator.EQ, True)),
        ("modified<1970-01-02", Compare("modified", Operator.LT, 86400.0)),
        ("language != en", Compare("language", Operator.NE, "en")),
    ],
)
def test_conditions_have_signs_and_numbers(written: str, wanted: Filter) -> None:
    assert parse_filter(written) == wanted


def test_a_tag_that_is_not_there_differs_as_other_fields_do() -> None:
    def tagged(**metadata: Any) -> AssetRow:
        return AssetRow("a", IMAGE, "image/png", 7, {IMAGE: 1}, ["/a"], metadata)

    differs = parse_filter("tags != sea")
    assert matches(differs, tagged(tags=["sun"]))
    assert not matches(differs, tagged(tags=["sun", "sea"]))
    assert not matches(differs, tagged())


def test_a_deep_nesting_is_refused() -> None:
    data: object = ONE
    for _ in range(1000):
        data = {"not": data}
    with pytest.raises(InputError, match="16 levels"):
        parse_filter(data)


ROOTS = ("/srv/photos/", "https://example.org/talks/")


def row(*locations: str) -> AssetRow:
    return AssetRow("a", IMAGE, "image/png", 7, {IMAGE: 1}, list(locations), {})


PUBLIC, PRIVATE = row("/home/ann/b.jpg", "/srv/photos/2026/b.jpg"), row("/home/ann/b.jpg")


@pytest.mark.parametrize(
    ("operator", "value", "holds"),
    [
        ("prefix", "2026/", True),
        ("prefix", "", True),
        ("prefix", "/srv", False),
        ("eq", "2026/b.jpg", True),
        ("eq", "/srv/photos/2026/b.jpg", False),
        ("in", ["x", "2026/b.jpg"], True),
        ("contains", "26/b", True),
        ("contains", "photos", False),
        ("contains", "ann", False),
        ("ne", "2026/b.jpg", False),
        ("ne", "x", True),
        ("nin", ["2026/b.jpg"], False),
        ("exists", True, True),
        ("exists", False, False),
    ],
)
def test_paths_are_compared_within_the_folders(operator: str, value: object, holds: bool) -> None:
    asked = within(parse_filter({"field": "path", operator: value}), ROOTS)
    assert matches(asked, PUBLIC) is holds
    assert matches(Not(asked), PUBLIC) is not holds


def test_all_parts_of_a_tree_are_rewritten() -> None:
    path = {"field": "path", "contains": "a"}
    asked = parse_filter({"or": [{"not": path}, {"and": [path, {"field": "title", "eq": "x"}]}]})
    assert asks_for_paths(asked)
    assert not asks_for_paths(within(asked, ROOTS))


def test_other_fields_are_not_paths() -> None:
    for field in ("title", "tags", "metadata.path"):
        assert not asks_for_paths(parse_filter({"field": field, "contains": "x"}))


def test_folders_end_with_a_slash() -> None:
    asked = Compare("path", Operator.EXISTS, True)
    for folders in ((), ("/srv/photos",)):
        with pytest.raises(InputError, match="folders"):
            Under(folders, asked)
    with pytest.raises(InputError, match="comparison"):
        Under(ROOTS, Compare("title", Operator.EXISTS, True))


letters = st.text(string.ascii_letters + "/._ ", max_size=12)
comparisons = st.one_of(
    st.builds(
        lambda operator, value: Compare("path", operator, value),
        st.sampled_from([Operator.EQ, Operator.NE, Operator.PREFIX, Operator.CONTAINS]),
        letters | st.sampled_from(["/home/ann/b.jpg", "/home/", "ann", "/srv/photos/", "photos"]),
    ),
    st.builds(lambda there: Compare("path", Operator.EXISTS, there), st.booleans()),
)
filters: st.SearchStrategy[Filter] = comparisons.map(lambda asked: within(asked, ROOTS))


@given(filters)
def test_no_filter_distinguishes_private_paths(asked: Filter) -> None:
    assert matches(asked, PRIVATE) is matches(asked, row("/elsewhere/entirely"))
    assert matches(asked, PUBLIC) is matches(asked, row("/srv/photos/2026/b.jpg", "/opt/c"))


@given(filters, letters)
def test_no_filter_shows_the_folders_own_path(asked: Filter, name: str) -> None:
    here, there = ("/a/b/", "/quite/another/")
    assert isinstance(asked, Under)
    inside = [matches(Under((f,), asked.comparison), row(f + name)) for f in (here, there)]
    assert inside[0] is inside[1]
