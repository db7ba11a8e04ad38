"""Separate chance matches from those that a query means."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from encoder.space import Space
from encoder.types import TEXT, Embeddings, Modality
from search.lexical.analysis import holds_words, words
from search.query.planner import QueryPlan
from search.query.query import Query
from search.ranking.fusion import RankedSegment
from search.store.base import VectorStore

_SIZES_S = 60.0


@dataclass(frozen=True)
class WeakMatches:
    """Says of each candidate of a query whether it is weak.

    Args:
        floors: by modality, the score below which it is weak.
        wanted: the words of the query; a text that holds all of them is not weak.
    """

    floors: Mapping[Modality, float]
    wanted: frozenset[str]

    def __call__(self, candidate: RankedSegment) -> bool:
        """Whether it may be a chance match."""
        floor = self.floors.get(candidate.segment.modality)
        if floor is None or candidate.dense_score >= floor:
            return False
        if candidate.name_part == 1:
            return False
        is_found = candidate.lexical_rank is not None and bool(self.wanted)
        return not (is_found and holds_words(candidate.segment.snippet, self.wanted))


class Floors:
    """The floors of a store as it grows. Safe to use from threads."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._sizes: Mapping[Modality, int] = {}
        self._look_at_s = 0.0

    def of(
        self, query: Query, plan: QueryPlan, space: Space, direction: Embeddings
    ) -> Callable[[RankedSegment], bool]:
        """A test for weak matches of this query; false for all that the floors do not cover.

        Floors are measured for texts: scores of a picture query are at a different level, and
        negative terms shift them. ``direction`` is the query's unit vector.
        """
        is_text = all(t.item and t.item.modality == TEXT and t.weight > 0 for t in query.terms)
        if not is_text or not space.floors:
            return WeakMatches({}, frozenset())
        sizes = self._current()
        floors = {
            modality: floor.among(sizes.get(modality, 0), direction)
            for modality, floor in space.floors.items()
        }
        return WeakMatches(floors, frozenset(word for text in plan.words for word in words(text)))

    def _current(self) -> Mapping[Modality, int]:
        """The store's sizes; read once a minute."""
        now_s = time.monotonic()
        if now_s >= self._look_at_s:
            self._sizes = self._store.sizes()
            self._look_at_s = now_s + _SIZES_S
        return self._sizes
