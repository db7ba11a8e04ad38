"""Adds what a date or a place of the question is worth, wherever vectors rank what shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import Executor
from dataclasses import replace

from search.filters import Filter, matches
from search.ranking.fusion import RankedSegment
from search.ranking.request import Request
from search.ranking.segments import SegmentSearch
from search.store.base import VectorStore
from search.understanding.evidence import both

EVIDENCE_WEIGHT = 3.0
"""What one date or place adds to a score."""
_MOST_ASSETS = 2000
_MOST_SEGMENTS = 1000
"""Of each modality."""


class EvidentSegments:
    """The segments of a request that show its dates and places.

    Args:
        request: the encoded query, with its evidence.
        store: where to look.
        executor: as `SegmentSearch` takes it.
    """

    def __init__(self, request: Request, store: VectorStore, executor: Executor | None) -> None:
        self._request, self._store, self._executor = request, store, executor
        self._shown = [one for one in request.evidence.shown if one not in request.evidence.only]
        self._of_rest: dict[str, float] = {}
        self._further: dict[int, Collection[str]] = {}

    def find(self) -> dict[str, RankedSegment]:
        """The best of them by their ids, as the question ranks them."""
        if not self._shown:
            return {}
        with self._request.progress.stage("understand"):
            of_question = self._near(self._request)
            if self._request.rest:
                of_rest = self._near(replace(self._request, fused=self._request.rest))
                self._of_rest = {key: candidate.dense for key, candidate in of_rest.items()}
            for number, one in enumerate(self._shown):
                if one.are_more:
                    self._further[number] = self._passing(one.sought.filter, of_question.values())
        return of_question

    def added(self, candidates: Sequence[RankedSegment]) -> list[RankedSegment]:
        """The candidates with what they show added to their scores, in their order.

        Those that show anything count by the question, or by its rest if that fits better.
        """
        return [self._with(candidate) for candidate in candidates] if self._shown else [*candidates]

    def _with(self, candidate: RankedSegment) -> RankedSegment:
        segment = candidate.segment
        weight = sum(
            1.0 if segment.asset_id in self._further.get(number, ()) else one.weight(segment)
            for number, one in enumerate(self._shown)
        )
        if not weight:
            return candidate
        better = self._of_rest.get(segment.segment_id, candidate.dense) - candidate.dense
        return candidate._replace(evidence=weight * EVIDENCE_WEIGHT + max(0.0, better))

    def _near(self, request: Request) -> dict[str, RankedSegment]:
        n_shown = Counter(sorted(key for one in self._shown for key in one.all_ids))
        asset_ids = [key for key, _ in n_shown.most_common(_MOST_ASSETS)]
        searches = list[tuple[Request, list[str] | None]](
            [(request, asset_ids)] if asset_ids else []
        )
        for one in self._shown:
            if one.are_more:
                query = replace(request.query, filter=both(request.query.filter, one.sought.filter))
                searches.append((replace(request, query=query), None))
        return {
            candidate.segment.segment_id: candidate._replace(dense_rank=None)
            for searched, among in searches
            for modality, segments in SegmentSearch(searched, self._store, self._executor)
            .nearest(request.plan.modalities, _MOST_SEGMENTS, among)
            .items()
            for candidate in request.scored(modality, segments)
        }

    def _passing(self, filter: Filter, candidates: Collection[RankedSegment]) -> set[str]:
        """The assets of candidates that pass a filter, which a store applies as far as it can."""
        asset_ids = list({candidate.segment.asset_id for candidate in candidates})
        deadline = self._request.progress.deadline
        rows = deadline.wait(self._executor, self._store.assets, asset_ids)
        return {key for key, row in rows.items() if matches(filter, row)}
