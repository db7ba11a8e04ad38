"""Finds the segments of one request in the store: one mixed list, or one of each modality."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial

from encoder.types import Modality
from search.ranking.fusion import RankedSegment, identical_is_above
from search.ranking.request import Request
from search.store.base import VectorStore
from search.store.several import best_first, shifted
from search.types import ScoredSegment, row_key


@dataclass(frozen=True, eq=False)
class FoundSegments:
    """Segments by modality, and bounds: the scores that segments beyond the lists do not exceed.

    A modality that was searched on its own has none: its list's length shows if it is complete.
    """

    segments: Mapping[Modality, Sequence[ScoredSegment]]
    bounds: Mapping[Modality, float] = field(default_factory=dict)


def lowest(scored: Sequence[RankedSegment]) -> float:
    """The highest score possible beyond a list; its last segment may be penalised, the next not."""
    return min(segment.dense_score for segment in scored)


class SegmentSearch:
    """Searches the store by the vector of a request.

    Args:
        request: the encoded query.
        store: where to look.
        executor: searches several modalities at once; None to search one after the other.
    """

    def __init__(self, request: Request, store: VectorStore, executor: Executor | None) -> None:
        self._request, self._query, self._plan = request, request.query, request.plan
        self._deadline = request.progress.deadline
        self._store = store
        self._executor = executor

    def best(self, n: int, asset_ids: Collection[str] | None) -> FoundSegments:
        """One mixed list of each lane; a modality that is alone in its lane is searched so."""
        by_lane: dict[int, list[Modality]] = {}
        for modality in self._plan.modalities if len(self._plan.shares) == 1 else ():
            by_lane.setdefault(id(self._request.lanes[modality]), []).append(modality)
        together = [modalities for modalities in by_lane.values() if len(modalities) > 1]
        alone = set(self._plan.modalities).difference(*together)
        segments = dict[Modality, Sequence[ScoredSegment]](
            self.nearest(sorted(alone), n, asset_ids) if alone else {}
        )
        bounds = dict[Modality, float]()
        for modalities in together:
            of_lane = self._mixed(modalities, n, asset_ids)
            segments.update(of_lane.segments)
            bounds.update(of_lane.bounds)
        return FoundSegments(segments, bounds)

    def nearest(
        self, modalities: Sequence[Modality], n: int, asset_ids: Collection[str] | None
    ) -> dict[Modality, list[ScoredSegment]]:
        """Search kinds in parallel: on a server, 4 modalities take 20 ms instead of 29."""
        nearest = partial(self._ask, n=n, asset_ids=asset_ids)
        if len(modalities) == 1:
            return {modalities[0]: self._deadline.wait(self._executor, nearest, modalities)}
        if self._executor is None:
            return {modality: nearest([modality]) for modality in modalities}
        answers = [(m, self._executor.submit(nearest, [m])) for m in modalities]
        return {modality: self._deadline.result(answer) for modality, answer in answers}

    def scored(self, n: int, asset_ids: Collection[str] | None) -> dict[str, RankedSegment]:
        """The nearest ``n`` of each kind by their ids, wherever vectors rank them among all."""
        return {
            candidate.segment.segment_id: candidate._replace(dense_rank=None)
            for modality, segments in self.nearest(self._plan.modalities, n, asset_ids).items()
            for candidate in self._request.scored(modality, segments)
        }

    def with_cosines(self, segments: Sequence[ScoredSegment]) -> list[ScoredSegment]:
        """These segments with the cosines of their best rows; those that are gone are missing."""
        space, lanes = self._request.space, self._request.lanes
        rows = {
            row_key(segment.segment_id, row): segment._replace(row=row)
            for segment in segments
            for row in range(1 + len(space.calibration_of(segment.modality).further))
        }
        vectors = self._deadline.wait(self._executor, self._store.vectors, list(rows))
        with_cosine = [
            row._replace(cosine=float(vectors[key] @ lanes[row.modality].fused.direction))
            for key, row in rows.items()
            if key in vectors
        ]
        return [
            segment
            for modality in {segment.modality for segment in segments}
            for segment in best_first(
                [row for row in with_cosine if row.modality == modality],
                shifted(space.calibration_of(modality), lanes[modality].fused.shift),
            )
        ]

    def _mixed(
        self, modalities: Sequence[Modality], n: int, asset_ids: Collection[str] | None
    ) -> FoundSegments:
        """Search all modalities at once.

        The best of all may end before a segment that is identical to the query, which should be
        first: a sound scores lower for itself than many texts do. Of such kinds all hits count.
        """
        fused = self._request.lanes[modalities[0]].fused
        mixed = self._deadline.wait(self._executor, self._ask, modalities, n, asset_ids)
        bounds = dict[Modality, float]()
        if last := mixed[n - 1 : n]:
            bound = lowest(self._request.scored(last[0].modality, last))
            for modality in modalities:
                if identical_is_above(bound, modality, fused, self._request.space):
                    bounds[modality] = bound
        segments = {
            m: [s for s in (mixed[:n] if m in bounds else mixed) if s.modality == m]
            for m in modalities
        }
        return FoundSegments(segments, bounds)

    def _ask(
        self, modalities: Sequence[Modality], n: int, asset_ids: Collection[str] | None
    ) -> list[ScoredSegment]:
        """The best segments of modalities of one lane; the store applies the filter or the ids."""
        fused, space = self._request.lanes[modalities[0]].fused, self._request.space
        (segments,) = self._store.search(
            fused.direction[None],
            modalities,
            n,
            by={m: shifted(space.calibration_of(m), fused.shift) for m in modalities},
            asset_ids=asset_ids,
            filter=self._query.filter if asset_ids is None else None,
        )
        return segments
