from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from encoder.space import Calibration
from encoder.types import IMAGE, TEXT, Modality
from search.store.calibrated import StoredCalibration, number_of, read, unmeasured, written
from search.store.checks import checked_asset, checked_segments
from search.store.lanes import StoredSpace, StoreLanes
from search.store.schema import (
    CALIBRATION,
    EMBED_DIM,
    PROBES,
    asset_from_dict,
    asset_to_dict,
    counts_of,
    locations_to_dicts,
    properties,
    scored_from_dict,
    segment_id,
    segment_to_dict,
)
from search.types import AssetRow, SegmentRow

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
number = st.none() | st.integers(0, 2**53)
seconds = st.none() | st.floats(0, 1e9)
parts = st.tuples(text, text, st.integers(0, 2**31), text)


@given(
    seconds,
    seconds,
    number,
    number,
    text,
    st.floats(0, 1),
    st.sampled_from(["", "de", "haw"]),
    st.sampled_from(["", "[[0.1,0.2,0.9,0.2,0.9,0.3,0.1,0.3]]"]),
    st.sampled_from(["", '{"page": 3}', '{"heading": "码头 › Ferries"}']),
)
def test_a_segment_survives_the_way_through_the_store(
    start_s: float | None,
    end_s: float | None,
    first: int | None,
    last: int | None,
    snippet: str,
    confidence: float,
    language: str,
    boxes: str,
    place: str,
) -> None:
    facts = (start_s, end_s, first, last, snippet, confidence, language, boxes, place)
    row = SegmentRow("s", "a", IMAGE, 3, np.ones(2), *facts)
    (checked,) = checked_segments([row], StoreLanes(StoredSpace("", 2)))
    stored = segment_to_dict(checked, {})
    scored = scored_from_dict(stored, 0.5)
    assert scored[4:-1] == facts
    assert stored["embedding"].dtype == np.float32


@given(st.lists(text), st.dictionaries(text, text, max_size=5))
def test_an_asset_survives_the_way_through_the_store(
    locations: list[str], metadata: dict[str, str]
) -> None:
    row = checked_asset(AssetRow("a.b-c_1", IMAGE, "image/png", 5, {IMAGE: 1}, locations, metadata))
    counts = {("aaaaaaaa", IMAGE): 1, ("bbbbbbbb", IMAGE): 2, ("bbbbbbbb", TEXT): 0}
    lanes = StoreLanes(StoredSpace("aaaaaaaa", 4), {TEXT: StoredSpace("bbbbbbbb", 4)})
    stored = asset_to_dict(row, counts)
    assert asset_from_dict(stored, lanes) == row
    assert asset_from_dict({**stored, "metadata": json.dumps(metadata).encode()}, lanes) == row
    assert counts_of(stored) == counts_of({"counts": json.dumps(stored["counts"])}) == counts
    assert len({r["location_id"] for r in locations_to_dicts(row)}) == len(set(locations))


@given(parts, parts)
def test_only_the_same_segment_has_the_same_key(
    one: tuple[str, str, int, str], other: tuple[str, str, int, str]
) -> None:
    assert (segment_id(*one) == segment_id(*other)) == (one == other)


of_row = st.builds(Calibration, st.floats(-0.9, 0.9), st.floats(0.05, 5))
constants = st.builds(
    replace,
    of_row,
    further=st.lists(of_row, max_size=2).map(tuple),
    share=st.sampled_from([0.0, 0.8]),
)


by_kind = st.dictionaries(st.sampled_from(["text", "image", "depth_map"]).map(Modality), constants)


@given(by_kind, st.lists(by_kind, max_size=3))
def test_a_calibration_is_read_as_it_was_written(
    shipped: dict[Modality, Calibration], others: list[dict[Modality, Calibration]]
) -> None:
    facts = properties(StoredSpace("0" * 16, 8, shipped, ("AAAA",)))
    state = read(facts[CALIBRATION])
    assert (facts[EMBED_DIM], json.loads(facts[PROBES])) == ("8", ["AAAA"])
    assert state == unmeasured(shipped)
    for constants in others:
        state = StoredCalibration(constants, {"source": "measured"})
        assert read(written(state)) == state
        assert state.constants == constants


@given(by_kind, by_kind)
def test_only_the_same_constants_have_the_same_number(
    one: dict[Modality, Calibration], other: dict[Modality, Calibration]
) -> None:
    assert (number_of(one) == number_of(other)) == (one == other)
    assert 0 <= number_of(one) < 2**63
