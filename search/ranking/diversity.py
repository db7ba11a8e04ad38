"""Choose hits that are good and unlike each other. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoder.types import Embeddings


def diversify(
    scores: Sequence[float],
    embeddings: Embeddings,
    n: int,
    diversity: float,
    chosen: Sequence[int] = (),
) -> list[int]:
    """Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).

    Each step takes the candidate with the highest ``(1 - diversity) * relevance - diversity *
    (the highest cosine to what is chosen)``. Relevance is the score, scaled so that the candidates'
    scores span 0 to 1: calibrated scores have no fixed range, and cosines below 0 count as 0.

    Args:
        scores: of the candidates, best first; equal ones stay in this order.
        embeddings: float32 unit rows [len(scores), embed_dim].
        n: how many to choose.
        diversity: 0 chooses by score alone, 1 by unlikeness alone.
        chosen: indices of what was chosen before; it counts, and is not chosen again.

    Returns:
        Indices of the candidates, in the order in which they were chosen; ``n`` at most.
    """
    relevance = (1 - diversity) * _to_unit_range(np.asarray(scores, np.float64))
    nearest = np.zeros(len(relevance))
    free = np.ones(len(relevance), bool)

    def take(index: int) -> None:
        free[index] = False
        np.maximum(nearest, embeddings @ embeddings[index], out=nearest)

    for index in chosen:
        take(index)
    order: list[int] = []
    for _ in range(min(n, int(free.sum()))):
        marginal = np.where(free, relevance - diversity * nearest, -np.inf)
        order.append(int(np.argmax(marginal)))
        take(order[-1])
    return order


def _to_unit_range(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(scores) or np.ptp(scores) == 0:
        return np.zeros(len(scores))
    return np.asarray((scores - scores.min()) / np.ptp(scores))
