"""Finds the best candidates of a query, enough for a page if the store holds enough.

The store answers with the best segments of all modalities, or with the nearest of each. That is not
yet the best hits: one film may crowd out the rest, the store may apply only part of a filter, an
asset may not be committed, and segments beyond the end of one modality's list may be better
than those in another's. So the search grows until the wanted hits score no worse than anything that
was not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import ParamSpec, TypeVar

from encoder.types import Modality
from search.query.planner import MAX_CANDIDATES, Share, widened
from search.query.word_search import FoundByWords
from search.ranking.evident import EvidentSegments
from search.ranking.fusion import (
    LEAST_PART,
    RankedSegment,
    rank,
    with_all_of_identical,
    with_names,
    with_words,
    words_gain,
)
from search.ranking.grouping import first_of_each
from search.ranking.named_kind import NamedKind
from search.ranking.pools import Pool, Pools
from search.ranking.request import Request
from search.ranking.segments import FoundSegments, SegmentSearch, lowest
from search.store.base import VectorStore
from search.types import ScoredSegment

P = ParamSpec("P")
T = TypeVar("T")

# The most asset ids in one search; with more, hits are checked one by one.
MAX_JOINED = 2000
# The most rows that are read to find those ids; with more, the search itself is widened.
_MAX_READ = 20_000
# The most segments of each kind that are looked at of assets with names like the query.
_MAX_NAMED = 2000
# More than all pages of a query can show.
_MAX_KEPT = 16_384


@dataclass(frozen=True, eq=False)
class Seen:
    """The candidates found so far.

    Args:
        ranked: all candidates, best first.
        horizon: by modality, the score that no unseen segment exceeds, whatever is added to it; a
            modality that was seen completely has none.
    """

    ranked: list[RankedSegment]
    horizon: Mapping[Modality, float]


class Finder:
    """Finds the candidates of one request.

    Args:
        request: the encoded query.
        store: where to look.
        executor: searches several modalities at once, and lets calls that take too long continue
            alone. It is not used if the store is in this process and nothing is filtered.
    """

    def __init__(self, request: Request, store: VectorStore, executor: Executor) -> None:
        self._request, self._query, self._plan = request, request.query, request.plan
        self._progress, self._stage = request.progress, request.progress.stage
        self._deadline = request.progress.deadline
        self._store = store
        self._executor = None if store.in_process and self._query.filter is None else executor
        self._segments = SegmentSearch(request, store, self._executor)
        self.pools = Pools(request, store, self._executor)
        self._kind = NamedKind(request, store, self._executor, self.pools)
        self._evidence = EvidentSegments(request, store, self._executor)
        self._evident: Mapping[str, RankedSegment] = {}
        self.n_seen: dict[Modality, int] = {}
        """How many segments of each modality were looked at."""
        self._parts: Mapping[str, float] = {}
        self._named: Mapping[str, RankedSegment] = {}

    def find(self) -> list[Pool]:
        """The pool of each share, by growing the search until nothing unseen can be better."""
        self._look_up_names()
        self._evident = self._evidence.find()
        n: int | None = self._plan.candidates
        asset_ids = self._request.evidence.only_among
        is_joined = False
        while n is not None:
            candidates_seen, pools = self._search(n, asset_ids)
            if self._are_full(pools, candidates_seen.horizon):
                return pools
            if asset_ids is None and not is_joined and self._query.filter is not None:
                is_joined = True
                asset_ids = self._joined()
                n = n if asset_ids is not None else widened(n)
            else:
                n = widened(n)
        return self._search_all(asset_ids)

    def _look_up_names(self) -> None:
        """Find the segments of assets with names like the query, wherever vectors rank them."""
        if self._request.named is None:
            return
        with self._stage("names"):
            parts = self._progress.result(self._request.named, {})
            self._parts = {key: part for key, part in parts.items() if part >= LEAST_PART}
            if self._parts:
                self._named = self._segments.scored(_MAX_NAMED, list(self._parts))

    def _joined(self) -> list[str] | None:
        """The assets that the filter selects, if they are few.

        They are counted first: reading many rows takes longer than searching more of them.
        """
        with self._stage("filter"):
            n_most = self._wait(self._store.count, self._query.filter)
            if n_most > _MAX_READ:
                return None
            asset_ids = self._wait(self._take, self._wait(self._selected), MAX_JOINED + 1)
        return asset_ids if len(asset_ids) <= MAX_JOINED else None

    def _wait(self, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call the store, no longer than the request may take."""
        return self._deadline.wait(self._executor, call, *args, **options)

    def _take(self, ids: Iterator[str], n: int) -> list[str]:
        """The next ids; raises when the request has to stop."""
        taken = []
        for asset_id in islice(ids, n):
            self._deadline.check()
            taken.append(asset_id)
        return taken

    def _are_full(self, pools: Sequence[Pool], horizon: Mapping[Modality, float]) -> bool:
        """Whether no unseen segment could be among the pools."""
        lowest = self._query.score_threshold
        for pool in pools:
            unseen = max(horizon.get(modality, -inf) for modality in pool.share.modalities)
            chosen = pool.groups[: pool.share.pool]
            is_full = len(chosen) == pool.share.pool and chosen[-1].best.score >= unseen
            if not (is_full or unseen == -inf or (lowest is not None and unseen < lowest)):
                return False
        return True

    def _search(self, n: int, asset_ids: Collection[str] | None) -> tuple[Seen, list[Pool]]:
        """Search vectors and words at once; the stage ``lexical`` is the extra time for words."""
        words = self._request.words.look(asset_ids)
        with self._stage("search"):
            segments_found = self._segments.best(n, asset_ids)
            if asset_ids is None:
                self._kind.find(n)
        return self._pooled(segments_found, self._found_by(words), n)

    def _found_by(self, words: Future[FoundByWords] | None) -> FoundByWords:
        with self._stage("lexical") if words else nullcontext():
            found_by_words = (
                self._progress.result(words, FoundByWords()) if words else FoundByWords()
            )
        if found_by_words.warning:
            self._progress.warn(found_by_words.warning)
        return found_by_words

    def _pooled(
        self, segments_found: FoundSegments, words: FoundByWords, n: int | None
    ) -> tuple[Seen, list[Pool]]:
        """Fuse and fetch."""
        with self._stage("fuse"):
            candidates_seen = self._fused(segments_found, words, n)
        return candidates_seen, self.pools.of(candidates_seen.ranked)

    def _fused(self, segments_found: FoundSegments, words: FoundByWords, n: int | None) -> Seen:
        """Rank all segments found; a list of fewer than ``n`` segments is complete."""
        scored: dict[str, RankedSegment] = {}
        bounds: dict[Modality, float] = dict(segments_found.bounds)
        for modality, segments in segments_found.segments.items():
            self.n_seen[modality] = len(segments)
            of_modality = self._request.scored(modality, segments)
            if n is not None and len(segments) >= n:
                bounds.setdefault(modality, lowest(of_modality))
            scored.update((candidate.segment.segment_id, candidate) for candidate in of_modality)
        candidates = [*{**self._evident, **self._named, **self._kind.candidates, **scored}.values()]
        candidates = with_words(self._evidence.added(candidates), words.matches)
        horizon = {m: self._kind.reach(m, bound) for m, bound in bounds.items()}
        if words.segments:
            candidates += self._only_by_words(rank(candidates), words, bounds, horizon)
        least = self._least(rank(candidates))
        ranked = rank(self._kind.added(candidates, least, self._parts))
        if self._named:
            ranked = rank(with_names(ranked, self._parts))
        return Seen(with_all_of_identical(ranked), horizon)

    def _only_by_words(
        self,
        ranked: Sequence[RankedSegment],
        words: FoundByWords,
        bounds: Mapping[Modality, float],
        horizon: dict[Modality, float],
    ) -> list[RankedSegment]:
        """Segments that only words found, of those that could be in a pool.

        These are scored by their vectors, since all that is known of them is that they score no
        higher than the bounds of their modalities. The horizon rises to what others could reach.
        """
        least = self._least(ranked)
        seen_ids = {candidate.segment.segment_id for candidate in ranked}
        promising = list[ScoredSegment]()
        for word in words.segments:
            modality = word.modality
            if word.segment_id in seen_ids or modality not in least:
                continue
            gain = words_gain(words.matches[word.segment_id].share)
            reach = self._kind.reach(modality, bounds.get(modality, inf)) + gain
            if reach >= least[modality]:
                promising.append(word)
            else:
                horizon[modality] = max(horizon[modality], reach)
        if not promising:
            return []
        with self._stage("search"):
            segments = self._segments.with_cosines(promising)
        scored = [
            candidate._replace(dense_rank=None)
            for modality in {segment.modality for segment in segments}
            for candidate in self._request.scored(
                modality, [segment for segment in segments if segment.modality == modality]
            )
        ]
        return with_words(self._evidence.added(scored), words.matches)

    def _least(self, ranked: Sequence[RankedSegment]) -> dict[Modality, float]:
        """By modality, the score that a segment needs to be in a pool, as far as is known."""
        return {
            modality: self._reached(share, ranked)
            for share in self._plan.shares
            for modality in share.modalities
        }

    def _reached(self, share: Share, ranked: Sequence[RankedSegment]) -> float:
        """The score that a segment needs to be in the pool of a share, as far as is known."""
        n_needed = share.pool + len(self._request.page.shown) + len(self._request.hidden)
        keys = set[str]()
        for candidate in ranked:
            segment = candidate.segment
            if segment.modality in share.modalities:
                by_asset = self._query.group_by == "asset"
                keys.add(segment.asset_id if by_asset else segment.segment_id)
                if len(keys) == n_needed:
                    return candidate.score
        return -inf

    def _search_all(self, asset_ids: Collection[str] | None) -> list[Pool]:
        """Search a few assets at a time until all were seen: slow, exact, rarely needed."""
        segments_found: dict[Modality, list[ScoredSegment]] = {
            modality: [] for modality in self._plan.modalities
        }
        ids = iter(self._wait(self._selected) if asset_ids is None else asset_ids)
        while chunk := self._wait(self._take, ids, MAX_JOINED):
            for modality, segments in self._nearest_of(chunk).items():
                segments_found[modality] = self._best(modality, segments_found[modality] + segments)
        words = self._found_by(self._request.words.look(asset_ids))
        return self._pooled(FoundSegments(segments_found), words, None)[1]

    def _selected(self) -> Iterator[str]:
        """The assets that pass the filter; all without one."""
        return iter(self._store.select(self._query.filter))

    def _nearest_of(self, asset_ids: Sequence[str]) -> dict[Modality, list[ScoredSegment]]:
        """At least the best segment of each asset; split until none crowds out others."""
        with self._stage("search"):
            segments_found = self._segments.nearest(
                self._plan.modalities, MAX_CANDIDATES, asset_ids
            )
        crowded = any(len(segments) >= MAX_CANDIDATES for segments in segments_found.values())
        if not crowded or len(asset_ids) == 1:
            return segments_found
        middle = len(asset_ids) // 2
        halves = [self._nearest_of(asset_ids[:middle]), self._nearest_of(asset_ids[middle:])]
        return {
            modality: [s for half in halves for s in half[modality]] for modality in segments_found
        }

    def _best(self, modality: Modality, segments: Sequence[ScoredSegment]) -> list[ScoredSegment]:
        """The best segments, as many as could become hits and their moments."""
        ordered = [candidate.segment for candidate in self._request.scored(modality, segments)]
        if self._query.group_by == "segment":
            return ordered[:_MAX_KEPT]
        return first_of_each(ordered, self._query.moments + 1, _MAX_KEPT)
