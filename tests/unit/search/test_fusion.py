from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encoder.errors import InputError
from encoder.space import Calibration, Space
from encoder.types import AUDIO, IMAGE, TEXT, Modality
from search.ranking.fusion import (
    SPREAD_OF,
    FusedQuery,
    RankedSegment,
    WordsWeight,
    fuse_terms,
    rank,
    score_segments,
    with_all_of_identical,
    with_names,
    with_words,
    words_weight,
)
from search.types import ScoredSegment

SPACE = Space(2, {}, {IMAGE: Calibration(0.5, 0.1), TEXT: Calibration(0.1, 0.2)})
ONE = FusedQuery(np.array([1, 0], np.float32))


def found(segment_id: str, cosine: float, modality: Modality = TEXT) -> ScoredSegment:
    return ScoredSegment(segment_id, segment_id, modality, cosine)


def scored(*segments: ScoredSegment) -> list[RankedSegment]:
    return score_segments(segments[0].modality, segments, ONE, SPACE)


def ids(candidates: list[RankedSegment]) -> list[str]:
    return [candidate.segment.segment_id for candidate in candidates]


@pytest.mark.parametrize("weights", [[1, 1], [1, -1]])
def test_terms_that_cancel_each_other_out_are_refused(weights: list[float]) -> None:
    rows = np.array([[1, 0], [-weights[1], 0]], np.float32)
    with pytest.raises(InputError, match="cancel"):
        fuse_terms(rows, weights)


def test_a_modality_without_constants_keeps_its_cosines() -> None:
    assert scored(found("a", 0.25, AUDIO))[0].score == 0.25


def test_ties_are_broken_by_the_segment_id() -> None:
    assert ids(scored(*[found(name, 0.5) for name in "cab"])) == ["a", "b", "c"]


PUMP = found("a", 3.0)._replace(snippet="a pump")


def lexical(**bm25: float) -> dict[str, tuple[int, float]]:
    return {name: (place, score) for place, (name, score) in enumerate(bm25.items(), 1)}


def test_a_name_that_holds_the_query_comes_first_of_all_kinds() -> None:
    ranked = rank(
        [*scored(found("t", 0.9)), *scored(found("half", 0.6, IMAGE), found("whole", 0.4, IMAGE))]
    )
    named = rank(with_names(ranked, {"whole": 1.0, "half": 0.5}))
    assert ids(named) == ["whole", "t", "half"]
    assert [c.name_part for c in named] == [1.0, 0.0, 0.5]
    assert named[2].named == pytest.approx(named[0].named / 8)
    assert with_names(ranked, {"elsewhere": 1.0}) == ranked


def test_a_name_lifts_the_best_segment_of_each_kind() -> None:
    film = [found("f1", 0.7, IMAGE), found("f2", 0.6, IMAGE)]
    ranked = rank([*scored(found("t", 0.9)), *scored(*(s._replace(asset_id="film") for s in film))])
    assert ids(rank(with_names(ranked, {"film": 1.0}))) == ["f1", "t", "f2"]


def test_the_same_content_stays_before_what_words_find() -> None:
    dense = scored(found("same", 1.0), found("b", 0.1))
    fused = with_words(dense, lexical(b=9.0), {TEXT: WordsWeight(100.0, 9.0)})
    assert ids(rank(fused)) == ["b", "same"]
    assert ids(rank(with_all_of_identical(fused))) == ["same", "b"]


def test_the_same_words_are_identical_though_tokens_of_one_text_were_merged() -> None:
    query = replace(ONE, content="the ferry leaves at nine.")
    merged = found("same", 0.97)._replace(snippet="The ferry leaves\nat nine.")
    ranked = score_segments(TEXT, [found("other", 0.98), merged], query, SPACE)
    assert [(one.segment.segment_id, one.is_identical) for one in ranked] == [
        ("same", True),
        ("other", False),
    ]


def test_the_weight_of_words_is_in_deviations_of_those_behind_the_best() -> None:
    dense = scored(found("a", 0.9), *(found(f"b{n}", n / 100) for n in range(50)))
    behind = [candidate.score for candidate in dense[1:SPREAD_OF]]
    weight = words_weight(dense, [PUMP, found("b7", 2.0)], "pump")
    assert weight == (pytest.approx(2.5 * np.std(behind, ddof=1)), 3.0)


@pytest.mark.parametrize(
    ("cosines", "gain"),
    [
        ([0.5], 2.5),
        ([0.5] * 40, 2.5),
        ([1.0, 0.5, 0.5], 2.5),  # what is identical stays in front anyway
        ([0.5, 0.3], 1.25),
        ([0.5, *[0.3] * 40], 1.25),
    ],
)
def test_the_weight_of_words_is_reported_where_scores_have_no_spread(
    cosines: list[float], gain: float
) -> None:
    dense = scored(*(found(f"s{n:02}", cosine) for n, cosine in enumerate(cosines)))
    assert words_weight(dense, [PUMP], "pump").gain == pytest.approx(gain)


def test_a_best_match_that_holds_only_a_part_of_the_query_gains_this_part() -> None:
    dense = scored(found("a", 0.5), found("b", 0.3))
    gains = [words_weight(dense, [PUMP], text).gain for text in ("a pump", "a pump of steel")]
    assert gains[1] / gains[0] == pytest.approx(5 / 12)
