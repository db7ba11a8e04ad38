"""What merging tokens costs a search, query by query. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder.types import Embeddings

_AT = 10
_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Found:
    """How each query fares.

    Args:
        ndcg: nDCG@10 (Järvelin & Kekäläinen 2002) with one right text for each query, [n].
        margin: cosine of the right text less that of the best wrong one, [n].
    """

    ndcg: NDArray[np.float64]
    margin: NDArray[np.float64]

    def take(self, some: NDArray[np.bool_]) -> Found:
        """Some of the queries."""
        return Found(self.ndcg[some], self.margin[some])


@dataclass(frozen=True)
class Loss:
    """A search over sparse vectors compared with the same search over dense ones.

    Args:
        ndcg: the share of the mean nDCG@10 that is lost; negative for a gain.
        error: its standard error, from the differences query by query.
        margin: how far the mean margin falls, in standard deviations of the dense margin.
        n_queries: the number of queries.
    """

    ndcg: float
    error: float
    margin: float
    n_queries: int


def search(queries: Embeddings, texts: Embeddings, right: NDArray[np.int64]) -> Found:
    """Rank all texts for each query.

    Args:
        queries: unit rows [n, embed_dim].
        texts: unit rows [n_texts, embed_dim], at least two.
        right: the index of each query's text, [n].

    >>> found = search(np.eye(2, dtype="f4"), np.eye(2, dtype="f4"), np.array([0, 1]))
    >>> found.ndcg.tolist(), found.margin.tolist()
    ([1.0, 1.0], [1.0, 1.0])
    """
    ranks, margins = [], []
    for start in range(0, len(queries), _AT_ONCE):
        rows = right[start : start + _AT_ONCE, None]
        scores = queries[start : start + _AT_ONCE] @ texts.T
        own = np.take_along_axis(scores, rows, 1)
        np.put_along_axis(scores, rows, -np.inf, 1)
        # a tie counts against the right text
        ranks.append((scores >= own).sum(1))
        margins.append(own[:, 0] - scores.max(1))
    rank = np.concatenate(ranks)
    ndcg = np.where(rank < _AT, 1 / np.log2(2 + rank), 0.0)
    return Found(ndcg, np.concatenate(margins).astype(np.float64))


def compare(dense: Found, sparse: Found) -> Loss:
    """What the sparse search loses; both answered the same queries, in the same order."""
    level = max(float(dense.ndcg.mean()), 1e-12)
    lost = (dense.ndcg - sparse.ndcg) / level
    fallen = float((dense.margin - sparse.margin).mean())
    spread = max(float(dense.margin.std()), 1e-12)
    error = float(lost.std() / np.sqrt(len(lost)))
    return Loss(float(lost.mean()), error, fallen / spread, len(lost))
