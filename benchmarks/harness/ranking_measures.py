"""Measures of a ranking; pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def first_ranks(scores: NDArray[np.floating], relevant: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The rank (0 is best) of each query's best relevant item; ties count against it.

    Args:
        scores: [n_queries, n_items].
        relevant: the same shape; each query has one relevant item or more.

    >>> first_ranks(np.array([[0.2, 0.9, 0.5]]), np.array([[False, False, True]]))
    array([1])
    """
    best = np.where(relevant, scores, -np.inf).max(axis=1, keepdims=True)
    return np.asarray(((scores >= best) & ~relevant).sum(axis=1), np.int64)


def recall_at(ranks: NDArray[np.int64], k: int) -> float:
    """The share of queries that have a relevant item among the first k."""
    return float((ranks < k).mean())


def average_precisions(
    scores: NDArray[np.floating], relevant: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The average precision of each query; arguments as in `first_ranks`."""
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = np.take_along_axis(relevant, order, axis=1)
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return np.asarray((precision * hits).sum(axis=1) / hits.sum(axis=1), np.float64)
