"""Measures of rankings, and how sure they are. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DEPTHS = (1, 5, 10)
_DRAWS = 2000
_CONFIDENCE = 0.95

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    mean: float
    low: float
    high: float


def measured(scores: Values, gains: Values) -> dict[str, Values]:
    """Each query's figures, by name; each [n_queries].

    ``recall_at_<k>`` is the share of the relevant candidates, at most k, among the first k;
    ``ndcg_at_10`` has linear gains (Järvelin & Kekäläinen, 2002); ``mrr`` is the reciprocal rank of
    the first relevant one. A relevant candidate is ranked behind others of the same score, so that
    a model which gives the same vector to everything gains nothing.

    Args:
        scores: of each query and candidate, [n_queries, n_candidates].
        gains: the relevance of each candidate, of the same shape; 0 if irrelevant. Each query has a
            relevant candidate.
    """
    rounded = scores.round(6)  # equal vectors differ in the last digit
    order = np.lexsort((gains, -rounded), axis=1)
    sorted_gains = np.take_along_axis(gains, order, axis=1)
    is_found, n_relevant = sorted_gains > 0, (gains > 0).sum(axis=1)
    figures = {
        f"recall_at_{k}": is_found[:, :k].sum(axis=1) / np.minimum(n_relevant, k) for k in DEPTHS
    }
    figures["ndcg_at_10"] = _dcg(sorted_gains) / _dcg(-np.sort(-gains, axis=1))
    figures["mrr"] = 1.0 / (1 + is_found.argmax(axis=1))
    return figures


def _dcg(gains: Values) -> Values:
    first = gains[:, :10]
    total: Values = first @ (1 / np.log2(np.arange(2, first.shape[1] + 2)))
    return total


def interval(values: Values, groups: Sequence[Hashable]) -> Interval:
    """The mean, and its interval by a bootstrap (Efron, 1979) that draws whole groups.

    Args:
        groups: of each query, such as its file: two captions of a photo are not independent.
    """
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    group_of = np.array([numbers[group] for group in groups])
    sums, counts = np.bincount(group_of, values), np.bincount(group_of)
    drawn = np.random.default_rng(0).integers(len(sums), size=(_DRAWS, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Interval(float(values.mean()), float(low), float(high))
