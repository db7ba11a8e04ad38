from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from encoder.space import l2_normalize
from encoder.types import Embeddings
from search.ranking.grouping import diversify

DIM = 4


@st.composite
def candidates(draw: st.DrawFn) -> tuple[list[float], Embeddings]:
    n = draw(st.integers(1, 12))
    quarters = sorted(draw(st.lists(st.integers(-12, 20), min_size=n, max_size=n)), reverse=True)
    rows = np.random.default_rng(draw(st.integers(0, 999))).normal(size=(n, DIM))
    return [quarter / 4 for quarter in quarters], l2_normalize(rows)


def by_the_book(
    scores: list[float], embeddings: Embeddings, n: int, diversity: float, chosen: list[int]
) -> list[int]:
    """The definition, a sum at a time."""
    low, high = min(scores), max(scores)
    order: list[int] = []
    while len(order) < n and len(order) + len(chosen) < len(scores):
        best, best_value = -1, -np.inf
        for i, score in enumerate(scores):
            if i in order or i in chosen:
                continue
            relevance = (score - low) / (high - low) if high > low else 0.0
            alike = max([0.0, *(float(embeddings[i] @ embeddings[j]) for j in [*chosen, *order])])
            value = (1 - diversity) * relevance - diversity * alike
            if value > best_value + 1e-9:
                best, best_value = i, value
        order.append(best)
    return order


@given(candidates(), st.integers(0, 14), st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]), st.data())
def test_it_is_maximal_marginal_relevance(
    found: tuple[list[float], Embeddings], n: int, diversity: float, data: st.DataObject
) -> None:
    scores, embeddings = found
    chosen = data.draw(st.lists(st.sampled_from(range(len(scores))), unique=True, max_size=3))
    got = diversify(scores, embeddings, n, diversity, chosen)
    wanted = by_the_book(scores, embeddings, n, diversity, chosen)
    assert len(got) == len(wanted)
    assert len(set(got) | set(chosen)) == len(got) + len(chosen)
    if diversity not in (0.0, 1.0):  # with many near ties, rounding may choose a different one
        assert got == wanted


@given(candidates())
def test_without_diversity_the_order_stays(found: tuple[list[float], Embeddings]) -> None:
    scores, embeddings = found
    assert diversify(scores, embeddings, len(scores), 0.0) == list(range(len(scores)))
