"""Paths within folders: what holds inside, and that nothing leaks about the outside."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.errors import InputError
from encoder.types import IMAGE
from search.filters import (
    Compare,
    Filter,
    Not,
    Operator,
    Under,
    asks_for_paths,
    matches,
    parse_filter,
    within,
)
from search.types import AssetRow

ROOTS = ("/srv/photos/", "https://example.org/talks/")


def row(*locations: str) -> AssetRow:
    return AssetRow("a", IMAGE, "image/png", 7, 1, list(locations), {})


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
