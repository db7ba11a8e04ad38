"""Plan, encode, search, fuse, fetch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from encoder.registry import registered_modalities
from encoder.space import Space
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Embeddings, Item, Modality
from search.deadline import Deadline
from search.fusion import Candidate, fuse_queries, rank
from search.grouping import Group, by_asset
from search.latency import LatencyTracker
from search.planner import Plan, plan, widened
from search.progress import Progress
from search.store.base import VectorStore
from search.types import AssetRow, Hit, Moment, Query, ScoredSegment, SearchResult, Term

Found = Mapping[Modality, Sequence[ScoredSegment]]


class ItemEncoder(Protocol):
    """What encodes queries; `encoder.MultiModalEncoder` does."""

    @property
    def space(self) -> Space:
        """The space in which the store's embeddings lie."""
        ...

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        """Mixed items to unit rows [len(items), embed_dim], in their order."""
        ...


class SearchEngine:
    """Answers queries of any modality. Safe to use from threads, as far as its parts are.

    ``latency`` holds the stages of the last searches.
    """

    def __init__(self, encoder: ItemEncoder, store: VectorStore) -> None:
        self._encoder = encoder
        self._store = store
        self._known = frozenset(
            {TEXT, IMAGE, AUDIO, VIDEO, *encoder.space.calibration, *registered_modalities()}
        )
        self.latency = LatencyTracker()

    def search(self, query: Query, deadline: Deadline | None = None) -> SearchResult:
        """The best segment of each of the best assets.

        The stages in ``latency_s`` are ``plan``, ``encode_<modality>``, ``search``, ``fuse``,
        ``fetch`` and ``total``.

        Args:
            query: see `search.types.Query`.
            deadline: looked at between the stages.

        Raises:
            InputError: the query cannot be answered as it is.
            StoreError: the store cannot do its work.
            TimeLimitError, CancelledError: as ``deadline`` says.
        """
        progress = Progress(deadline)
        with progress.stage("plan"):
            planned = plan(query, self._known)
        embedding = self._encode(query.terms, progress)
        hits = self._find(embedding, planned, progress)
        result = SearchResult(hits, progress.timer.latency_s())
        self.latency.record(result.latency_s)
        return result

    def _encode(self, terms: Sequence[Term], progress: Progress) -> Embeddings:
        """One embedding [embed_dim] for all terms; each modality is timed."""
        items = [term.item for term in terms if term.item]
        rows = np.empty((len(items), self._encoder.space.embed_dim), np.float32)
        for modality in dict.fromkeys(item.modality for item in items):
            places = [place for place, item in enumerate(items) if item.modality == modality]
            with progress.stage(f"encode_{modality}"):
                rows[places] = self._encoder.encode_items([items[place] for place in places])
        with progress.stage("fuse"):
            return fuse_queries(rows, [term.weight for term in terms])

    def _find(self, embedding: Embeddings, planned: Plan, progress: Progress) -> list[Hit]:
        """Search wider while the segments of few assets crowd out the rest."""
        wider: Plan | None = planned
        hits: list[Hit] = []
        while wider is not None:
            with progress.stage("search"):
                found = self._search(embedding, wider)
            with progress.stage("fuse"):
                groups = by_asset(rank(found, self._encoder.space), wider.moments)
            with progress.stage("fetch"):
                hits = self._fetch(groups, wider.limit)
            full = any(len(segments) >= wider.candidates for segments in found.values())
            wider = widened(wider) if full and len(hits) < wider.limit else None
        return hits

    def _search(self, embedding: Embeddings, planned: Plan) -> Found:
        """Side by side: on a server 4 modalities take 20 ms and not 29; on Lite it is all one."""

        def nearest(modality: Modality) -> Sequence[ScoredSegment]:
            return self._store.search(embedding[None], modality, planned.candidates)[0]

        with ThreadPoolExecutor(len(planned.modalities), thread_name_prefix="search") as pool:
            return dict(zip(planned.modalities, pool.map(nearest, planned.modalities), strict=True))

    def _fetch(self, groups: Sequence[Group], limit: int) -> list[Hit]:
        """Hits of the assets that are committed; an asset in the making is not found yet."""
        hits: list[Hit] = []
        for start in range(0, len(groups), limit):
            part = groups[start : start + limit]
            rows = self._store.assets([group.best.segment.asset_id for group in part])
            hits += [
                _hit(group, rows[group.best.segment.asset_id])
                for group in part
                if group.best.segment.asset_id in rows
            ]
            if len(hits) >= limit:
                break
        return hits[:limit]


def _hit(group: Group, asset: AssetRow) -> Hit:
    segment = group.best.segment
    duration = asset.metadata.get("duration_s")
    return Hit(
        asset_id=segment.asset_id,
        segment_id=segment.segment_id,
        uri=next(iter(asset.locations), ""),
        modality=segment.modality,
        score=group.best.score,
        start_s=segment.start_s,
        end_s=segment.end_s,
        char_start=segment.char_start,
        char_end=segment.char_end,
        snippet=segment.snippet,
        title=str(asset.metadata.get("title", "")),
        media_type=asset.media_type,
        duration_s=float(duration) if isinstance(duration, int | float) else None,
        metadata=dict(asset.metadata),
        moments=[_moment(candidate) for candidate in group.moments],
    )


def _moment(candidate: Candidate) -> Moment:
    segment = candidate.segment
    return Moment(
        segment_id=segment.segment_id,
        modality=segment.modality,
        score=candidate.score,
        start_s=segment.start_s,
        end_s=segment.end_s,
        char_start=segment.char_start,
        char_end=segment.char_end,
        snippet=segment.snippet,
    )
