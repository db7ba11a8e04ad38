from __future__ import annotations

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


def scored(*segments: ScoredSegment, query: FusedQuery = ONE) -> list[RankedSegment]:
    return score_segments(segments[0].modality, segments, query, SPACE)


def ids(candidates: list[RankedSegment]) -> list[str]:
    return [candidate.segment.segment_id for candidate in candidates]


def test_the_mean_of_two_directions_lies_between_them() -> None:
    fused = fuse_terms(np.eye(2, dtype=np.float32), [1, 1])
    assert fused.direction == pytest.approx([np.sqrt(0.5)] * 2)
    assert (fused.length, fused.weight) == (pytest.approx(1), 1)


def test_a_weight_pulls_and_a_negative_one_pushes() -> None:
    fused = fuse_terms(np.eye(2, dtype=np.float32), [3.0, -1.0])
    assert fused.direction == pytest.approx([3 / np.sqrt(10), -1 / np.sqrt(10)])
    assert (fused.length, fused.weight) == pytest.approx((np.sqrt(10) / 3, 2 / 3))


@pytest.mark.parametrize("weights", [[1, 1], [1, -1]])
def test_terms_that_cancel_each_other_out_are_refused(weights: list[float]) -> None:
    rows = np.array([[1, 0], [-weights[1], 0]], np.float32)
    with pytest.raises(InputError, match="cancel"):
        fuse_terms(rows, weights)


def test_calibrated_scores_and_not_cosines_decide_across_modalities() -> None:
    lists = {IMAGE: scored(found("i", 0.6, IMAGE)), TEXT: scored(found("t", 0.5))}
    ranked = rank([*lists[IMAGE], *lists[TEXT]])
    assert [(c.segment.segment_id, pytest.approx(c.score)) for c in ranked] == [
        ("t", 2.0),
        ("i", 1.0),
    ]


def test_a_modality_without_constants_keeps_its_cosines() -> None:
    assert scored(found("a", 0.25, AUDIO))[0].score == 0.25


def test_a_negative_term_takes_its_own_calibrated_score_off() -> None:
    query = FusedQuery(ONE.direction, length=0.8, weight=0.5)
    # 0.8 * 0.5 is the cosine to the positive term less half of that to the negative one.
    assert scored(found("t", 0.5), query=query)[0].score == pytest.approx(
        (0.8 * 0.5 - 0.5 * 0.1) / 0.2
    )


def test_the_same_content_is_first_in_a_mixed_list() -> None:
    lists = {IMAGE: scored(found("same", 1.0, IMAGE)), TEXT: scored(found("t", 0.999))}
    assert ids(rank([*lists[IMAGE], *lists[TEXT]])) == ["same", "t"]


def test_ties_are_broken_by_the_segment_id() -> None:
    assert ids(scored(*[found(name, 0.5) for name in "cab"])) == ["a", "b", "c"]


def test_nothing_found_ranks_to_nothing() -> None:
    assert rank([]) == []
    assert with_all_of_identical([]) == []


PUMP = found("a", 3.0)._replace(snippet="a pump")


def lexical(**bm25: float) -> dict[str, tuple[int, float]]:
    return {name: (place, score) for place, (name, score) in enumerate(bm25.items(), 1)}


def test_words_add_to_the_score() -> None:
    dense = scored(found("a", 0.5), found("b", 0.48), found("c", 0.12))
    fused = rank(with_words(dense, lexical(c=8.0, b=6.0), {TEXT: WordsWeight(1.0, 8.0)}))
    assert [(c.segment.segment_id, c.words, c.lexical_rank, c.lexical_score) for c in fused] == [
        ("b", 0.75, 2, 6.0),
        ("a", 0.0, None, None),
        ("c", 1.0, 1, 8.0),
    ]
    assert [c.score for c in fused] == [pytest.approx(s) for s in (2.65, 2.0, 1.1)]
    assert [c.dense_rank for c in fused] == [2, 1, 3]


def test_words_without_a_weight_add_nothing() -> None:
    dense = scored(found("a", 0.5))
    assert with_words(dense, {}, {TEXT: WordsWeight(2.0, 1.0)}) == dense
    assert with_words(dense, lexical(a=1.0), {}) == dense


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
