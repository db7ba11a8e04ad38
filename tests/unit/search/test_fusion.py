from __future__ import annotations

import numpy as np
import pytest

from encoder.errors import InputError
from encoder.space import Calibration, Space
from encoder.types import AUDIO, IMAGE, TEXT, Modality
from search.ranking.fusion import (
    FusedQuery,
    RankedSegment,
    WordsWeight,
    fuse_terms,
    rank,
    score_segments,
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
    assert [(c.segment.segment_id, pytest.approx(c.score)) for c in rank(lists)] == [
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
    assert ids(rank(lists)) == ["same", "t"]


def test_ties_are_broken_by_the_segment_id() -> None:
    assert ids(scored(*[found(name, 0.5) for name in "cab"])) == ["a", "b", "c"]


def test_nothing_found_ranks_to_nothing() -> None:
    assert rank({IMAGE: [], TEXT: []}) == []


def test_words_change_places_and_no_scores() -> None:
    dense = scored(found("a", 0.5), found("b", 0.48), found("c", 0.12))
    words = [found("c", 7.0), found("b", 6.0)]
    fused = with_words(dense, words, words_weight(dense, words))
    assert ids(fused) == ["b", "c", "a"]
    assert [c.score for c in fused] == [c.score for c in dense]
    assert [(c.dense_rank, c.lexical_rank, c.lexical_score) for c in fused] == [
        (2, 2, 6.0),
        (3, 1, 7.0),
        (1, None, None),
    ]
    assert [c.dense_score for c in fused] == [dense[1].score, dense[2].score, dense[0].score]


def test_what_only_words_find_takes_a_place() -> None:
    dense = scored(found("a", 0.5), found("b", 0.48))
    words = [found("new", 9.0)]
    fused = with_words(dense, words, words_weight(dense, words))
    assert ids(fused) == ["new", "a"]
    assert (fused[0].score, fused[0].dense_rank, fused[0].dense_score) == (
        dense[0].score,
        None,
        None,
    )


def test_the_same_content_stays_before_what_words_find() -> None:
    dense = scored(found("same", 1.0), found("b", 0.1))
    fused = with_words(dense, [found("b", 9.0)], WordsWeight(100.0, 9.0))
    assert ids(fused) == ["same", "b"]


def test_without_words_nothing_changes() -> None:
    dense = scored(found("a", 0.5))
    weight = WordsWeight(2.0, 1.0)
    assert with_words(dense, [], weight) == dense
    assert with_words([], [found("a", 1.0)], weight) == []
    assert with_words(dense, [found("x", 1.0)], WordsWeight(0.0, 1.0)) == dense


def test_the_weight_of_words_is_four_deviations_of_those_behind_the_best() -> None:
    dense = scored(found("a", 0.9), *(found(f"b{n}", n / 100) for n in range(50)))
    behind = [candidate.score for candidate in dense[1:32]]
    weight = words_weight(dense, [found("a", 3.0), found("b7", 2.0)])
    assert weight == (pytest.approx(4 * np.std(behind, ddof=1)), 3.0)


@pytest.mark.parametrize(
    ("cosines", "gain"),
    [
        ([0.5], 4.0),
        ([0.5] * 40, 4.0),
        ([1.0, 0.5, 0.5], 4.0),  # what is identical stays in front anyway
        ([0.5, 0.3], 2.0),
        ([0.5, *[0.3] * 40], 2.0),
    ],
)
def test_the_weight_of_words_is_reported_where_scores_have_no_spread(
    cosines: list[float], gain: float
) -> None:
    dense = scored(*(found(f"s{n:02}", cosine) for n, cosine in enumerate(cosines)))
    assert words_weight(dense, [found("s00", 2.0)]).gain == pytest.approx(gain)
