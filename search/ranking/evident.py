"""Adds what a date or a place of the question is worth, wherever vectors rank what shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace

from search.filters import matches
from search.ranking.fusion import RankedSegment
from search.ranking.request import Request
from search.ranking.segments import SegmentSearch
from search.store.base import VectorStore
from search.understanding.evidence import Clue, both

EVIDENCE_WEIGHT = 3.0
"""What one date or place adds to the score of what fits the rest of the question."""
_UNFIT = 4.0
"""How far behind the best fit a segment gains nothing by a date or a place."""
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
        self._clues = [c for c in request.evidence.clues if c not in request.evidence.only]
        self._best_rest = 0.0
        self._of_rest: Mapping[str, RankedSegment] = {}
        self._passing: Sequence[Collection[str]] = ()

    def find(self) -> dict[str, RankedSegment]:
        """The best of them by their ids, as the question ranks them."""
        if not self._clues:
            return {}
        with self._request.progress.stage("understand"):
            of_question = self._nearest(self._request)
            if rest := self._request.rest:
                self._of_rest = self._nearest(rest)
            asset_ids = {candidate.segment.asset_id for candidate in of_question.values()}
            self._passing = [self._passed(clue, asset_ids) for clue in self._clues]
            of_rest = [*of_question.values(), *self._of_rest.values()]
            self._best_rest = max((candidate.dense for candidate in of_rest), default=0.0)
        return of_question

    def added(self, candidates: Sequence[RankedSegment]) -> list[RankedSegment]:
        """The candidates with what they show added to their scores, in their order.

        Those that show anything count by the question, or by its rest if that fits better.
        """
        return [self._with(candidate) for candidate in candidates] if self._clues else [*candidates]

    def _with(self, candidate: RankedSegment) -> RankedSegment:
        segment = candidate.segment
        weight = sum(
            1.0 if segment.asset_id in passing else clue.weight(segment)
            for clue, passing in zip(self._clues, self._passing, strict=True)
        )
        if not weight:
            return candidate
        rest = max(self._of_rest.get(segment.segment_id, candidate).dense, candidate.dense)
        # How far it fits the rest of the question, beside what fits best.
        fit = min(max(1 - (self._best_rest - rest) / _UNFIT, 0.0), 1.0)
        evidence = weight * EVIDENCE_WEIGHT * fit + rest - candidate.dense
        return candidate._replace(evidence=evidence)

    def _nearest(self, request: Request) -> dict[str, RankedSegment]:
        n_clues = Counter(sorted(key for clue in self._clues for key in clue.all_ids))
        asset_ids = [asset_id for asset_id, _ in n_clues.most_common(_MOST_ASSETS)]
        nearest = self._search(request, asset_ids) if asset_ids else {}
        for clue in self._clues:
            if clue.are_more:
                query = replace(
                    request.query, filter=both(request.query.filter, clue.sought.filter)
                )
                nearest |= self._search(replace(request, query=query), None)
        return nearest

    def _search(self, request: Request, asset_ids: list[str] | None) -> dict[str, RankedSegment]:
        return SegmentSearch(request, self._store, self._executor).scored(_MOST_SEGMENTS, asset_ids)

    def _passed(self, clue: Clue, asset_ids: Collection[str]) -> Collection[str]:
        """Which assets pass the filter of a clue, which a store applies as far as it can."""
        if not clue.are_more:
            return ()
        deadline = self._request.progress.deadline
        rows = deadline.wait(self._executor, self._store.assets, list(asset_ids))
        return {key for key, row in rows.items() if matches(clue.sought.filter, row)}
