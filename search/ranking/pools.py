"""From ranked candidates to pools: hits that are committed and pass the filter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from search.query.planner import Share
from search.ranking.fusion import RankedSegment
from search.ranking.grouping import Group, by_asset, by_segment, same_photos, stacked
from search.ranking.request import Request
from search.store.base import VectorStore
from search.types import AssetRow
from search.understanding.evidence import can_be_hit

_ROWS_PER_CALL = 200
_LOOKED_AT = 50
"""The most candidates among which the other shots of a stack are looked for."""


@dataclass(frozen=True, eq=False)
class Pool:
    """The best hits of a share that are committed and pass the filter.

    ``shown`` holds those of earlier pages.
    """

    share: Share
    groups: list[Group]
    shown: list[Group]


class Pools:
    """Groups candidates and checks their assets; each commit row is read once for a request.

    Args:
        request: the encoded query.
        store: has the commit rows.
        executor: lets calls that take too long continue alone; None to wait for them.
    """

    def __init__(self, request: Request, store: VectorStore, executor: Executor | None) -> None:
        self._request, self._query = request, request.query
        self._deadline = request.progress.deadline
        self._store = store
        self._executor = executor
        self._rows: dict[str, AssetRow | None] = {}

    def of(self, ranked: Sequence[RankedSegment]) -> list[Pool]:
        """The pool of each share, from all candidates, best first."""
        with self._request.progress.stage("fetch"):
            parts = [(share, *self._split(share, ranked)) for share in self._request.plan.shares]
            # One look-up for all of them.
            self._load(
                [group.asset_id for share, fresh, _ in parts for group in fresh[: share.pool]]
            )
            return [Pool(s, self._verified(fresh, s.pool), shown) for s, fresh, shown in parts]

    def row(self, group: Group) -> AssetRow:
        """The commit row of a group in a pool."""
        row = self._rows[group.asset_id]
        assert row is not None
        return row

    def of_media_types(self, asset_ids: Iterable[str], beginnings: tuple[str, ...]) -> set[str]:
        """Those of these assets whose media type begins with one of ``beginnings``."""
        asset_ids = list(asset_ids)
        self._load(asset_ids)
        rows = ((asset_id, self._rows[asset_id]) for asset_id in asset_ids)
        return {a for a, row in rows if row is not None and row.media_type.startswith(beginnings)}

    def _split(
        self, share: Share, ranked: Sequence[RankedSegment]
    ) -> tuple[list[Group], list[Group]]:
        """The groups that are new, and those that earlier pages have shown."""
        if self._query.group_by == "segment":
            groups = by_segment(ranked, share.modalities)
        else:
            groups = by_asset(ranked, share.modalities, self._query.moments)
        lowest, among = self._query.score_threshold, self._request.evidence.only_among
        passing = [
            group
            for group in groups
            if group.asset_id not in self._request.hidden
            and (among is None or group.asset_id in among)
            and (lowest is None or group.best.score >= lowest)
        ]
        if self._query.quotas:  # an asset may be found once in each of them
            passing = [
                replace(group, key=f"{share.modalities[0]} {group.key}") for group in passing
            ]
        fresh, shown_groups = list[Group](), list[Group]()
        for group in passing:
            (shown_groups if self._request.page.has_shown(group.key) else fresh).append(group)
        return fresh, shown_groups

    def _verified(self, groups: Sequence[Group], n_wanted: int) -> list[Group]:
        """The groups whose asset is committed, has a file and passes the filter, in stacks.

        Where there is a stack, some more groups are looked at, since its other shots may follow.
        """
        passing, stacks = list[Group](), list[Group]()
        start, size = 0, n_wanted
        while start < len(groups) and (
            len(stacks) < n_wanted or (start < _LOOKED_AT and any(stack.stack for stack in stacks))
        ):
            chunk = groups[start : start + size]
            self._load([group.asset_id for group in chunk])
            passing += [
                group for group in chunk if can_be_hit(self._rows[group.asset_id], self._query)
            ]
            stacks = passing
            if self._query.stacks and self._query.group_by != "segment":
                stacks = stacked(passing, same_photos([self.row(group) for group in passing]))
            start, size = start + size, min(max(2 * size, _LOOKED_AT), _ROWS_PER_CALL)
        return stacks[:n_wanted]

    def _load(self, asset_ids: Sequence[str]) -> None:
        new = [asset_id for asset_id in dict.fromkeys(asset_ids) if asset_id not in self._rows]
        if new:
            rows = self._deadline.wait(self._executor, self._store.assets, new)
            self._rows.update((asset_id, rows.get(asset_id)) for asset_id in new)
