"""Hits in another order than by score."""

from __future__ import annotations

import pytest

from encoder.errors import InputError
from encoder.types import IMAGE
from search.query.sorting import check_sort, sort_hits
from search.types import Hit

HITS = [
    Hit("b", "b1", "/b", IMAGE, 3.0, metadata={"taken": 20.0, "city": "bonn"}),
    Hit("c", "c1", "/c", IMAGE, 2.0, metadata={}),
    Hit("a", "a1", "/a", IMAGE, 1.0, metadata={"taken": 10.0, "city": "Aachen"}),
    Hit("d", "d1", "/d", IMAGE, 0.5, metadata={"taken": 20.0, "city": "Celle"}),
]


@pytest.mark.parametrize(
    ("sort", "order"), [("taken", "abdc"), ("-taken", "bdac"), ("city", "abdc"), ("rating", "bcad")]
)
def test_hits_are_sorted_by_a_field_of_their_asset(sort: str, order: str) -> None:
    assert "".join(hit.asset_id for hit in sort_hits(HITS, sort)) == order


@pytest.mark.parametrize("sort", ["nonsense", "tags", "--taken", "path"])
def test_what_cannot_be_sorted_by_is_refused_with_what_can(sort: str) -> None:
    with pytest.raises(InputError, match=r"camera_model.*taken"):
        check_sort(sort)
