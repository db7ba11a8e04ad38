"""Which hits of a list are strong, how probable each is, and that pages agree about it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.space import Bank
from encoder.types import IMAGE, TEXT, Modality
from search.query.word_search import WordMatch
from search.ranking.fusion import RankedSegment
from search.ranking.verdict import Verdict, Weighed, judge, threshold_among, value_of
from search.types import ScoredSegment

THRESHOLD = threshold_among(1000)


def hit(
    value: float, modality: Modality = TEXT, share: float = 0.0, reranked: float | None = None
) -> Weighed:
    match = WordMatch(1, 5.0, share) if share else None
    segment = ScoredSegment("s", "a", modality, 0.5)
    return Weighed(value, RankedSegment(segment, value, match=match), reranked)


hits_of_lists = st.lists(
    st.builds(
        hit,
        st.floats(-3, 12),
        st.sampled_from([TEXT, IMAGE]),
        st.sampled_from([0.0, 0.4, 1.0]),
        st.none() | st.floats(0, 1),
    ),
    max_size=12,
)


@given(hits_of_lists)
def test_probabilities_never_rise_and_no_strong_hit_is_behind_a_weak_one(
    hits: list[Weighed],
) -> None:
    judged, _ = judge(hits, Verdict(THRESHOLD))
    probabilities = [judgement.probability for judgement in judged]
    assert probabilities == sorted(probabilities, reverse=True)
    assert all(0 <= p <= 1 for p in probabilities)
    weak = [judgement.weak for judgement in judged]
    assert weak == sorted(weak)


@given(hits_of_lists, hits_of_lists)
def test_a_page_goes_on_where_the_one_before_it_ended(
    first: list[Weighed], second: list[Weighed]
) -> None:
    before, verdict = judge(first, Verdict(THRESHOLD))
    after, _ = judge(second, verdict)
    if before and after:
        assert after[0].probability <= before[-1].probability
        assert after[0].weak or not before[-1].weak


def test_a_list_without_a_hit_that_stands_out_is_empty() -> None:
    judged, _ = judge([hit(THRESHOLD - 0.1), hit(THRESHOLD - 0.2)], Verdict(THRESHOLD))
    assert [judgement.weak for judgement in judged] == [True, True]


def test_behind_a_hit_that_stands_out_comparable_ones_are_shown() -> None:
    values = [THRESHOLD + 1, THRESHOLD - 0.3, THRESHOLD - 2]
    judged, _ = judge(list(map(hit, values)), Verdict(THRESHOLD))
    assert [judgement.weak for judgement in judged] == [False, False, True]


def test_all_words_of_a_question_are_never_weak() -> None:
    ((_, weak),), _ = judge([hit(-2.0, share=1.0)], Verdict(THRESHOLD))
    assert not weak


def test_a_reranker_s_score_takes_the_place_of_all_else() -> None:
    judged, _ = judge([hit(-2.0, reranked=0.9), hit(9.0, reranked=0.01)], Verdict(THRESHOLD))
    assert [tuple(judgement) for judgement in judged] == [(0.9, False), (0.01, True)]


# What a probability means: of first hits so far above the threshold, this share answered in the
# libraries that it was fitted to.
@pytest.mark.parametrize(
    ("modality", "above", "answered"),
    [(TEXT, 0.0, 0.09), (TEXT, 1.6, 0.5), (TEXT, 4.0, 0.96), (IMAGE, 0.0, 0.09), (IMAGE, 4.0, 0.8)],
)
def test_a_probability_is_the_share_of_such_hits_that_answer(
    modality: Modality, above: float, answered: float
) -> None:
    ((probability, _),), _ = judge([hit(THRESHOLD + above, modality)], Verdict(THRESHOLD))
    assert probability == pytest.approx(answered, abs=0.06)


def test_a_hit_far_behind_the_best_is_improbable() -> None:
    judged, _ = judge([hit(THRESHOLD + 4), hit(THRESHOLD + 1)], Verdict(THRESHOLD))
    assert judged[1].probability < 0.1


def test_what_all_questions_find_stands_out_less() -> None:
    candidate = hit(5.0).candidate
    bank = Bank(np.zeros(2, np.float32), np.zeros((1, 2), np.float32), np.zeros(2, np.float32), 0.0)
    usual = value_of(candidate, bank.by_chance(1.0, 3.0))
    assert value_of(candidate, bank.by_chance(1.5, 3.0)) < usual
    assert value_of(candidate, bank.by_chance(1.0, 5.0)) < usual
    assert value_of(hit(5.0, share=0.8).candidate, bank.by_chance(1.0, 3.0)) > usual


def test_more_segments_need_a_better_best() -> None:
    assert threshold_among(0) == threshold_among(300) < threshold_among(3000) < math.inf
