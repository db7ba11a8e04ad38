from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.space import Calibration, l2_normalize
from encoder.types import IMAGE, Modality
from search.store.calibrated import (
    cosine_of,
    from_stored,
    number_of,
    to_asked,
    to_stored,
    unmeasured,
)
from search.store.checks import checked_asset, checked_segment
from search.store.schema import (
    asset_from_dict,
    asset_to_dict,
    calibration_property,
    locations_to_dicts,
    properties,
    recalibrated,
    scored_from_dict,
    segment_id,
    segment_to_dict,
    written_calibration,
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
    stored = segment_to_dict(checked_segment(row, 2), {})
    scored = scored_from_dict(stored, 0.5)
    assert scored[4:-1] == facts
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


of_row = st.builds(Calibration, st.floats(-0.9, 0.9), st.floats(0.05, 5))
constants = st.builds(
    replace,
    of_row,
    further=st.lists(of_row, max_size=2).map(tuple),
    share=st.sampled_from([0.0, 0.8]),
)


@given(constants, st.integers(0, 999), st.floats(-10, 10))
def test_a_product_with_what_is_stored_is_a_calibrated_score(
    one: Calibration, seed: int, shift: float
) -> None:
    query, target = l2_normalize(np.random.default_rng(seed).normal(size=(2, 8)))
    row = to_stored(target, one)
    product = float(to_asked(query[None], shift)[0] @ row)
    cosine = float(query @ target)
    assert product * one.c == pytest.approx(cosine - shift * one.mu, abs=1e-4)
    assert cosine_of(product, shift, one) == pytest.approx(cosine, abs=1e-4)
    np.testing.assert_allclose(from_stored(row), target, atol=1e-6)


by_kind = st.dictionaries(st.sampled_from(["text", "image", "depth_map"]).map(Modality), constants)


@given(by_kind, st.lists(by_kind, max_size=3))
def test_a_calibration_is_read_as_it_was_written(
    shipped: dict[Modality, Calibration], others: list[dict[Modality, Calibration]]
) -> None:
    state = written_calibration(properties("0" * 16, 8, shipped))
    assert state == unmeasured(shipped)
    for constants in others:
        state = state.changed(constants, {"source": "measured"})
        assert written_calibration(calibration_property(state)) == state
        assert state.constants == constants
        assert state.by_number[number_of(constants)] == constants
        assert len(state.by_number) == len(state.former) + 1
    known = {number_of(one) for one in [shipped, *others]}
    assert set(state.by_number) == known


@given(by_kind, by_kind)
def test_only_the_same_constants_have_the_same_number(
    one: dict[Modality, Calibration], other: dict[Modality, Calibration]
) -> None:
    assert (number_of(one) == number_of(other)) == (one == other)
    assert 0 <= number_of(one) < 2**63


@given(st.lists(by_kind, min_size=1, max_size=5), st.integers(0, 999))
def test_a_row_that_is_rewritten_is_as_if_it_was_written_so(
    many: list[dict[Modality, Calibration]], seed: int
) -> None:
    embedding = l2_normalize(np.random.default_rng(seed).normal(size=(1, 8)))[0]
    segment = SegmentRow("s", "a", IMAGE, 3, embedding, 0.5, None, 7, None, "words")
    row = segment_to_dict(segment, {})
    for constants in many:
        row = recalibrated(row, constants)
        wanted = segment_to_dict(segment, constants)
        assert wanted.keys() == row.keys()
        np.testing.assert_allclose(row.pop("embedding"), wanted["embedding"], rtol=1e-5, atol=1e-6)
        assert row == {name: wanted[name] for name in row}
        row["embedding"] = wanted["embedding"]
