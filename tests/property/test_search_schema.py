from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from encoder.types import IMAGE
from search.store.schema import (
    asset_from_dict,
    asset_to_dict,
    checked_asset,
    checked_segment,
    locations_to_dicts,
    scored_from_dict,
    segment_id,
    segment_to_dict,
)
from search.types import AssetRow, SegmentRow

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
number = st.none() | st.integers(0, 2**53)
seconds = st.none() | st.floats(0, 1e9)
parts = st.tuples(text, text, st.integers(0, 2**31), text)


@given(seconds, seconds, number, number, text)
def test_a_segment_survives_the_way_through_the_store(
    start_s: float | None, end_s: float | None, first: int | None, last: int | None, snippet: str
) -> None:
    row = SegmentRow("s", "a", IMAGE, 3, np.ones(2), start_s, end_s, first, last, snippet)
    stored = segment_to_dict(checked_segment(row, 2))
    scored = scored_from_dict(stored, 0.5)
    back = (scored.start_s, scored.end_s, scored.char_start, scored.char_end, scored.snippet)
    assert back == (start_s, end_s, first, last, snippet)
    assert stored["embedding"].dtype == np.float32


@given(st.lists(text), st.dictionaries(text, text, max_size=5))
def test_an_asset_survives_the_way_through_the_store(
    locations: list[str], metadata: dict[str, str]
) -> None:
    row = checked_asset(AssetRow("a.b-c_1", IMAGE, "image/png", 5, 1, locations, metadata))
    stored = asset_to_dict(row)
    assert asset_from_dict(stored) == row
    assert asset_from_dict({**stored, "metadata": json.dumps(metadata).encode()}) == row
    assert len({r["location_id"] for r in locations_to_dicts(row)}) == len(set(locations))


@given(parts, parts)
def test_only_the_same_segment_has_the_same_key(
    one: tuple[str, str, int, str], other: tuple[str, str, int, str]
) -> None:
    assert (segment_id(*one) == segment_id(*other)) == (one == other)
