"""Fill one store beside those that are searched, with the segments of some modalities alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, TypeAlias

from encoder.system.batched import in_batches
from encoder.types import TEXT, Modality
from search.store.base import VectorStore
from search.store.checking import Checkable
from search.store.laned import rows_of_lane
from search.store.locks import exclusive
from search.types import AssetRow, SegmentRow

_AT_ONCE = 500
Counts: TypeAlias = Mapping[str, Counter[Modality]]


class Filling:
    """A `VectorStore` for an ingest that fills one while others are searched, maybe it as well.

    It takes segments of assets that the searched store holds, and nothing else. Commit rows are
    those of that store; here they count segments only if an asset has as many of each modality as
    there, or was encoded by this object. So what is here already is not encoded again.

    Args:
        into: the store of one space.
        searched: what is searched until the switch.
        modalities: what is to be filled in.
        unknown: those that the searched store's models cannot encode: files tell who has any.
        is_home: whether ``into`` will have the commit rows of all assets.
        is_searched: whether ``into`` is searched now, for other modalities.
    """

    def __init__(
        self,
        into: VectorStore,
        searched: VectorStore,
        modalities: Set[Modality],
        unknown: Set[Modality],
        *,
        is_home: bool,
        is_searched: bool,
    ) -> None:
        self._into, self._searched = into, searched
        self.modalities, self._unknown = modalities, modalities & unknown
        self._known = modalities - unknown
        self._is_home, self._is_searched = is_home, is_searched
        self._encoded = set[str]()
        self.locks = searched.locks

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._into, name)

    def wanted(self) -> Iterator[AssetRow]:
        """The commit rows of the assets that have something to fill in, as they are searched."""
        for rows in in_batches(self._searched.scan(), _AT_ONCE):
            if TEXT in self.modalities or self._unknown:  # a new home has all commit rows
                yield from rows
                continue
            counts = _counted(self._searched, [row.asset_id for row in rows])
            yield from (row for row in rows if self._known & counts[row.asset_id].keys())

    def assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        rows = self._searched.assets(asset_ids)
        theirs, own = (_counted(each, list(rows)) for each in (self._searched, self._into))

        def is_whole(asset_id: str) -> bool:
            return asset_id in self._encoded or all(
                own[asset_id][modality] == theirs[asset_id][modality] for modality in self._known
            )

        return {
            asset_id: replace(row, n_segments=int(is_whole(asset_id)))
            for asset_id, row in self._into.assets(list(rows)).items()
        }

    def assets_at(self, uris: Sequence[str]) -> dict[str, list[AssetRow]]:
        rows_at = self._into.assets_at(uris)
        rows = self.assets([row.asset_id for rows in rows_at.values() for row in rows])
        return {
            uri: [rows[row.asset_id] for row in at_uri if row.asset_id in rows]
            for uri, at_uri in rows_at.items()
        }

    def embeddings(self, asset_id: str) -> list[SegmentRow]:
        return [x for x in self._into.embeddings(asset_id) if x.modality in self.modalities]

    def scan(self) -> Iterator[AssetRow]:
        """What may have to be removed: what is searched follows every deletion."""
        return iter(()) if self._is_searched else self._into.scan()

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        """Store the segments of what is searched, with its commit rows."""
        rows = self._searched.assets([row.asset_id for row in assets])
        own = [segment for segment in segments if segment.asset_id in rows]
        stored = self._into.assets(list(rows))
        has_new = {segment.asset_id for segment in own}
        # Of an asset that is gone, nothing was looked for.
        seen = [r for r in rows.values() if not r.is_gone or r.asset_id in has_new | stored.keys()]
        if not self._is_home:
            lane_rows = rows_of_lane(self._into, seen, own)
            others = {row.asset_id for row in seen} - {row.asset_id for row in lane_rows}
            if self._unknown:  # others have none, so that they need not be looked at again
                lane_rows += [replace(rows[asset_id], n_segments=0) for asset_id in others]
            seen = lane_rows
        changed = [r for r in seen if r.asset_id in has_new or r != stored.get(r.asset_id)]
        if changed:
            self._into.write(changed, own)
        self._encoded |= has_new

    def delete(self, asset_ids: Sequence[str]) -> None:
        if not self._is_searched:
            self._into.delete(asset_ids)

    def catch_up(self) -> None:
        self._into.catch_up()
        self._searched.catch_up()


def recount(store: VectorStore) -> None:
    """Make commit rows count the segments that are searched, where they differ."""
    for rows in in_batches(store.scan(), _AT_ONCE):
        if different := [row.asset_id for row in _recounted(store, rows)]:
            with exclusive(store, different):
                store.write(_recounted(store, store.assets(different).values()), [])


def _recounted(store: VectorStore, rows: Collection[AssetRow]) -> list[AssetRow]:
    counts = _counted(store, [row.asset_id for row in rows])
    recounted = [replace(row, n_segments=counts[row.asset_id].total()) for row in rows]
    # One that counts none is read again by the next ingest.
    return [new for new, row in zip(recounted, rows, strict=True) if new != row and row.n_segments]


def _counted(store: VectorStore, asset_ids: Sequence[str]) -> Counts:
    assert isinstance(store, Checkable)
    return store.counted(asset_ids)
