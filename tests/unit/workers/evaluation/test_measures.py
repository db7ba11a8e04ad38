"""Figures of rankings against those worked out by hand and by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from workers.evaluation.measures import interval, measured


def test_one_relevant_candidate_each() -> None:
    scores = np.array([[0.9, 0.1, 0.2], [0.9, 0.1, 0.2], [0.9, 0.1, 0.2]])
    found = measured(scores, np.eye(3))
    assert found["mrr"] == pytest.approx([1, 1 / 3, 1 / 2])
    assert found["recall_at_1"] == pytest.approx([1, 0, 0])
    assert found["recall_at_5"] == pytest.approx([1, 1, 1])
    assert found["ndcg_at_10"] == pytest.approx([1, 1 / 2, 1 / np.log2(3)])


def test_of_more_relevant_candidates_than_places_the_places_count() -> None:
    scores = np.linspace(1, 0, 20)[None]
    gains = (np.arange(20) < 7)[None].astype(float)
    found = measured(scores, gains)
    assert (found["recall_at_1"], found["recall_at_5"]) == (1, 1)
    assert measured(-scores, gains)["recall_at_10"] == 0


def test_graded_gains_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    scores, gains = rng.normal(size=(40, 30)), rng.integers(0, 4, size=(40, 30)).astype(float)
    own = measured(scores, gains)["ndcg_at_10"]
    theirs = [ndcg_score(gains[n : n + 1], scores[n : n + 1], k=10) for n in range(40)]
    assert own == pytest.approx(theirs)


def test_the_same_score_for_all_finds_nothing() -> None:
    gains = np.eye(20)
    found = measured(np.full((20, 20), 0.3) + 1e-9 * gains, gains)
    assert found["mrr"] == pytest.approx(1 / 20)
    assert found["recall_at_10"].max() == 0


def test_an_interval_holds_the_mean_and_shrinks_with_more_queries() -> None:
    rng = np.random.default_rng(0)
    few, many = (rng.integers(0, 2, n).astype(float) for n in (20, 2000))
    wide, narrow = interval(few, range(20)), interval(many, range(2000))
    assert wide.low <= wide.mean <= wide.high
    assert narrow.high - narrow.low < 0.25 * (wide.high - wide.low)
    assert narrow.high - narrow.low == pytest.approx(4 * 0.5 / np.sqrt(2000), rel=0.1)


def test_captions_of_one_photo_are_no_trials_of_their_own() -> None:
    values = np.repeat(np.random.default_rng(1).integers(0, 2, 40), 5).astype(float)
    photos = [f"photo {n // 5}" for n in range(200)]
    apart, together = interval(values, range(200)), interval(values, photos)
    assert together.high - together.low > 1.8 * (apart.high - apart.low)
