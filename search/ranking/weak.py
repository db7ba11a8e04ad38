"""Say how probable it is that a match answers, and which matches chance explains."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from encoder.space import Odds, Space
from encoder.types import TEXT, Embeddings, Modality
from search.lexical.analysis import holds_words, words
from search.query.planner import QueryPlan
from search.query.query import Query
from search.ranking.fusion import WHOLE, RankedSegment
from search.ranking.grouping import Group
from search.store.base import VectorStore

_SIZES_S = 60.0


@dataclass(frozen=True)
class Judge:
    """Says of each candidate of a query how probable it is that it answers.

    Args:
        odds: above the floors, by modality, each as its lane's model ships them.
        floors: by modality, the score that chance reaches.
        wanted: the words of the query.
    """

    odds: Mapping[Modality, Odds] = field(default_factory=dict)
    floors: Mapping[Modality, float] = field(default_factory=dict)
    wanted: frozenset[str] = frozenset()

    def probability(self, candidate: RankedSegment) -> float | None:
        """From 0 to 1; None for a modality without a floor.

        It is at least even for a text that holds all words of the query, and for an asset whose
        names do.
        """
        modality = candidate.segment.modality
        floor = self.floors.get(modality)
        if floor is None:
            return None
        odds = self.odds[modality]
        probability = odds.of(candidate.score - floor)
        return max(probability, 0.5, odds.least) if self._is_whole(candidate) else probability

    def is_weak(self, modality: Modality, probability: float | None) -> bool:
        """Whether a match of this modality and probability may be due to chance."""
        return probability is not None and probability < self.odds[modality].least

    def _is_whole(self, candidate: RankedSegment) -> bool:
        if candidate.name_part >= WHOLE:
            return True
        is_found = candidate.lexical_rank is not None and bool(self.wanted)
        return is_found and holds_words(candidate.segment.snippet, self.wanted)


def unfold_best(groups: Sequence[Group]) -> None:
    """Let the best hit of a kind be weak only if no hit behind it is not: it is not to be folded
    away under worse ones.

    Args:
        groups: the first page, best first.
    """
    best = {group.best.segment.modality: group for group in reversed(groups)}
    is_before_strong = False
    for group in reversed(groups):
        if is_before_strong and best[group.best.segment.modality] is group:
            group.weak = False
        is_before_strong = is_before_strong or not group.weak


class Floors:
    """The floors of a store as it grows. Safe to use from threads."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._sizes: Mapping[Modality, int] = {}
        self._look_at_s = 0.0

    def of(
        self,
        query: Query,
        plan: QueryPlan,
        space: Space,
        directions: Mapping[Modality, Embeddings],
        odds: Mapping[Modality, Odds],
    ) -> Judge:
        """The judge of this query's matches; one without floors for queries they do not cover.

        Floors are measured for texts: scores of a picture query are at a different level, and
        negative terms shift them. ``directions`` are the query's unit vectors by modality, and
        ``odds`` those of each modality's lane.
        """
        is_text = all(t.item and t.item.modality == TEXT and t.weight > 0 for t in query.terms)
        if not is_text or not space.floors:
            return Judge()
        sizes = self._current()
        floors = {
            modality: floor.among(sizes.get(modality, 0), directions[modality])
            for modality, floor in space.floors.items()
            if modality in directions
        }
        wanted = frozenset(word for text in plan.words for word in words(text))
        return Judge(odds, floors, wanted)

    def _current(self) -> Mapping[Modality, int]:
        """The store's sizes; read once a minute."""
        now_s = time.monotonic()
        if now_s >= self._look_at_s:
            self._sizes = self._store.sizes()
            self._look_at_s = now_s + _SIZES_S
        return self._sizes
