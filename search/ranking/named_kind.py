"""Adds what a kind of file is worth that the query names, wherever vectors rank its files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from math import inf

from encoder.types import Modality
from search.filters import Compare, Operator, Or
from search.ranking.fusion import PRIOR, RankedSegment
from search.ranking.pools import Pools
from search.ranking.request import Request
from search.ranking.segments import SegmentSearch, lowest
from search.store.base import VectorStore
from search.understanding.evidence import both


class NamedKind:
    """The segments of a request that are of the kind of file it names, if it names one.

    Args:
        request: the encoded query.
        store: where to look.
        executor: as `SegmentSearch` takes it.
        pools: know the media types of assets.
    """

    def __init__(
        self, request: Request, store: VectorStore, executor: Executor | None, pools: Pools
    ) -> None:
        self._request, self._pools = request, pools
        self._media_types = request.plan.media_types
        if self._media_types:
            kind = Or(tuple(Compare("media_type", Operator.PREFIX, m) for m in self._media_types))
            query = replace(request.query, filter=both(request.query.filter, kind))
            self._search = SegmentSearch(replace(request, query=query), store, executor)
        self.candidates: dict[str, RankedSegment] = {}
        """The best of the kind, by their ids."""
        self._bounds: dict[Modality, float] = {}

    def find(self, n: int) -> None:
        """Look for the best ``n`` of each modality, beside the best of all kinds."""
        if not self._media_types:
            return
        for modality, segments in self._search.nearest(
            self._request.plan.modalities, n, None
        ).items():
            scored = self._request.scored(modality, segments)
            self._bounds[modality] = lowest(scored) if len(segments) >= n else -inf
            self.candidates |= {
                candidate.segment.segment_id: candidate._replace(dense_rank=None)
                for candidate in scored
            }

    def reach(self, modality: Modality, bound: float) -> float:
        """The score that no unseen segment exceeds, of a kind or not, if no vector's does."""
        if not self._media_types:
            return bound
        return max(bound, min(bound, self._bounds.get(modality, inf)) + PRIOR)

    def added(
        self,
        candidates: Sequence[RankedSegment],
        least: dict[Modality, float],
        named: Collection[str],
    ) -> list[RankedSegment]:
        """The candidates with what their kind is worth added to their scores, in their order.

        Args:
            candidates: scored.
            least: by modality, the score below which none matters.
            named: assets that matter at any score.
        """
        if not self._media_types:
            return [*candidates]
        of_kind = {candidate.segment.asset_id for candidate in self.candidates.values()}
        doubtful = {
            candidate.segment.asset_id
            for candidate in candidates
            if candidate.dense_score <= self._bounds.get(candidate.segment.modality, inf)
            and (
                candidate.score + PRIOR >= least.get(candidate.segment.modality, -inf)
                or candidate.segment.asset_id in named
            )
        }
        of_kind |= self._pools.of_media_types(doubtful - of_kind, self._media_types)
        return [
            candidate._replace(prior=PRIOR) if candidate.segment.asset_id in of_kind else candidate
            for candidate in candidates
        ]
