"""The hits of a page: found, judged, and in the order that was asked for.

By score, a search ends as soon as nothing unseen can be on the page. In the order of a field it
goes on to the end of the list, which is sorted as a whole; each page does so anew and leaves out
what earlier ones have shown, so that none is repeated or lost whatever changes in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np

from encoder.types import Embeddings, Modality
from search.lanes import Lanes
from search.query.pages import Reached
from search.query.sorting import order_of
from search.ranking.candidates import Finder
from search.ranking.grouping import Group, diversify
from search.ranking.pools import Pool
from search.ranking.request import Request
from search.ranking.second_look import Reranker, rerank
from search.ranking.verdict import Judged, Verdict, Weighed, judge, value_of
from search.store.base import VectorStore

# The most hits of earlier pages that the diversity of a page takes into account.
_MAX_REMEMBERED = 200
# So many hits at a time are judged of a list that is read to its end, as on a page of so many.
_JUDGED = 24
# The most hits of a list that are sorted, but for those that pages have reached.
_MOST_SORTED = 4000


@dataclass(frozen=True, eq=False)
class Chosen:
    """The hits of a page.

    Args:
        finder: that found them.
        groups: the hits, in the order in which they are shown.
        ranks: the place of each in the list by score, from 1.
        reached: what is known behind them.
        follows: whether there is a next page.
        total: see `search.types.SearchResult`.
    """

    finder: Finder
    groups: Sequence[Group]
    ranks: Sequence[int]
    reached: Reached
    follows: bool
    total: int | None

    def cursor(self, request: Request) -> str:
        """The cursor of the next page; empty if there is none."""
        shots = [shot for group in self.groups for shot in group.shots]
        reached = self.reached._replace(depth=max((shot.rank for shot in shots), default=0))
        return request.page.cursor((shot.key for shot in shots), reached) if self.follows else ""


class Listing:
    """Lists the hits of one request.

    Args:
        request: the encoded query.
        store: where to look.
        lanes: of the store.
        executor: as `Finder` takes it.
    """

    def __init__(
        self, request: Request, store: VectorStore, lanes: Lanes, executor: Executor
    ) -> None:
        self._request, self._query, self._page = request, request.query, request.page
        self._progress = request.progress
        self._store, self._lanes, self._executor = store, lanes, executor

    def page(self, question: str = "", reranker: Reranker | None = None) -> Chosen:
        """The hits of the page; the reranker judges those of a list by score by ``question``."""
        if self._query.sort and self._request.has_end:
            return self._by_field()
        return self._by_score(question, reranker)

    def vectors(self, groups: Sequence[Group]) -> list[Embeddings]:
        """The best rows of hits [embed_dim]; zeros for those deleted in the meantime."""
        best = [group.best.segment for group in groups]
        return self._rows({segment.key: segment.modality for segment in best})

    def _by_score(self, question: str, reranker: Reranker | None) -> Chosen:
        finder = Finder(self._request, self._store, self._executor)
        groups, follows = self._best(finder.find())
        if question and reranker:
            with self._progress.stage("rerank"):
                groups = rerank(groups, question, reranker, self._progress.deadline.check)
        verdict = self._judge(groups, self._request.verdict, len(groups))
        n_strong = self._page.reached.n_strong + sum(not group.weak for group in groups)
        total = n_strong if verdict.is_over or not follows else None
        if total is None and self._query.count and self._request.has_end and not question:
            total = self._whole().n_strong
        places = list(range(len(groups)))
        if self._query.sort:
            places = order_of([finder.pools.row(group) for group in groups], self._query.sort)
        return Chosen(
            finder,
            [groups[place] for place in places],
            [len(self._page.shown) + place + 1 for place in places],
            Reached(0, verdict.best, verdict.last, n_strong, verdict.is_over),
            follows,
            total,
        )

    def _by_field(self) -> Chosen:
        """The strong hits in the order of a field; the weak ones follow by score."""
        whole = self._whole()
        groups = whole.groups
        strong = [place for place, group in enumerate(groups) if not group.weak]
        rows = [whole.finder.pools.row(groups[place]) for place in strong]
        ordered = [strong[n] for n in order_of(rows, self._query.sort)]
        ordered += [place for place, group in enumerate(groups) if group.weak]
        number_of = {groups[place].key: number for number, place in enumerate(ordered)}
        chosen, follows = list[tuple[int, Group]](), False
        for pool in whole.pools:
            numbers = sorted(number_of[group.key] for group in pool.groups)
            left = ((n, groups[ordered[n]].without(self._page.has_shown)) for n in numbers)
            fresh = [(number, group) for number, group in left if group]
            chosen += fresh[: pool.share.limit]
            follows |= len(fresh) > pool.share.limit
        chosen.sort(key=lambda numbered: numbered[0])
        return Chosen(
            whole.finder,
            [group for _, group in chosen],
            [ordered[number] + 1 for number, _ in chosen],
            Reached(),
            follows,
            whole.n_strong,
        )

    def _whole(self) -> _Whole:
        """All pages together, by a search that grows until the end of the list is seen."""
        request = replace(self._request, page=replace(self._page, shown=frozenset()))
        begun = self._request.verdict and Verdict(self._request.verdict.threshold)
        n_page = max(share.limit for share in request.plan.shares)
        n = max(4 * _JUDGED, len(self._page.shown) + n_page + 1)
        while True:
            pooling = replace(request, plan=request.plan.pooling(n))
            finder = Finder(pooling, self._store, self._executor)
            pools = finder.find()
            groups = _best_first([group for pool in pools for group in pool.groups])
            is_over = self._judge(groups, begun, _JUDGED).is_over
            if is_over or all(len(pool.groups) < n for pool in pools):
                n_strong = sum(not group.weak for group in groups)
                return _Whole(finder, pools, groups, n_strong)
            if n >= _MOST_SORTED:
                self._progress.warn(f"The list goes on behind its best {len(groups):,} hits.")
                return _Whole(finder, pools, groups, None)
            n = min(4 * n, _MOST_SORTED)

    def _best(self, pools: Sequence[Pool]) -> tuple[list[Group], bool]:
        """The hits of a page of the list by score, and whether there is a next one."""
        groups = [group for pool in pools for group in self._choose(pool)]
        if not self._query.diversity:
            groups = _best_first(groups)
        return groups, any(len(pool.groups) > pool.share.limit for pool in pools)

    def _judge(self, groups: Sequence[Group], verdict: Verdict | None, n_each: int) -> Verdict:
        """Say of each hit how probable it is, and whether the list ended before it; ``n_each`` hits
        are seen together."""
        if verdict is None:
            return Verdict(0.0)
        with self._progress.stage("judge"):
            modalities = {group.best.segment.modality for group in groups}
            lanes = self._request.lanes
            foreign = {m: self._lanes.lane(m).foreign(lanes[m].space) for m in modalities}
            for group, row in zip(groups, self.vectors(groups), strict=True):
                segment = group.best.segment
                level = self._request.levels[segment.modality]
                scores = foreign[segment.modality]
                by_chance = scores.by_chance(level, row, segment) if scores else 0.0
                group.value = value_of(group.best, by_chance)
            weighed = [Weighed(group.value or 0.0, group.best, group.reranked) for group in groups]
            judged = list[Judged]()
            for start in range(0, len(weighed), n_each or 1):
                seen_together, verdict = judge(weighed[start : start + n_each], verdict)
                judged += seen_together
            for group, judgement in zip(groups, judged, strict=True):
                for shot in group.shots:
                    shot.probability, shot.weak = judgement
        return verdict

    def _choose(self, pool: Pool) -> list[Group]:
        """The hits of a share: the best, or the best that differ from each other."""
        limit, diversity = pool.share.limit, self._query.diversity
        if not diversity or not pool.groups:
            return pool.groups[:limit]
        earlier = pool.shown[:_MAX_REMEMBERED]
        groups = sorted([*pool.groups, *earlier], key=lambda group: -group.best.score)
        known_keys = {group.key for group in earlier}
        with self._progress.stage("fetch"):
            segments = [group.best.segment for group in groups]
            by_key = {segment.segment_id: segment.modality for segment in segments}
            rows = self._rows(by_key)
        with self._progress.stage("fuse"):
            order = diversify(
                [group.best.score for group in groups],
                self._lanes.joined(list(by_key.values()), rows),
                limit,
                diversity,
                [index for index, group in enumerate(groups) if group.key in known_keys],
            )
        return [groups[index] for index in order]

    def _rows(self, by_key: Mapping[str, Modality]) -> list[Embeddings]:
        """The rows with these keys and modalities, as `vectors` has them."""
        deadline = self._progress.deadline
        vectors = deadline.wait(self._executor, self._store.vectors, list(by_key))
        return [
            vectors[key]
            if key in vectors
            else np.zeros(self._lanes.lane(modality).encoder.space.embed_dim, np.float32)
            for key, modality in by_key.items()
        ]


@dataclass(frozen=True, eq=False)
class _Whole:
    """A list to its end.

    Args:
        finder: that found it.
        pools: of its shares.
        groups: their hits, best first; some weak ones are behind the strong.
        n_strong: how many are strong; None if the list goes on.
    """

    finder: Finder
    pools: Sequence[Pool]
    groups: Sequence[Group]
    n_strong: int | None


def _best_first(groups: Sequence[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: (-group.best.score, group.best.segment.segment_id))
