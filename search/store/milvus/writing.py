"""Write and remove assets: commit rows, and segments with the columns that filters use."""

from __future__ import annotations

from collections.abc import Collection as Ids
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from encoder.system.batched import in_batches
from search.filters.columns import UNKNOWN, values_of
from search.filters.milvus import among
from search.store.milvus.rows import MilvusRows, Rows
from search.store.milvus.words import MilvusWords
from search.store.schema import (
    ASSETS,
    DELETION,
    LOCATIONS,
    asset_from_dict,
    asset_to_dict,
    deletion_note,
    locations_to_dicts,
    partition_of_row,
    segment_to_dict,
)
from search.types import AssetRow, SegmentRow

_ASSETS_PER_READ = 200


class SegmentWriter:
    def __init__(self, rows: MilvusRows) -> None:
        self._rows = rows
        self._link = rows.link
        self._segments = rows.segments
        self._partitions = rows.partitions

    def write(
        self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]
    ) -> dict[str, AssetRow]:
        """Write segments, and bring stored ones of these assets up to date.

        On a server, new assets are noted as to be deleted until `commit`, so that whoever opens the
        store next removes what a write that was cut off has left. It sees what anyone had written
        by the last `MilvusLink.catch_up`.

        Returns:
            The stored commit rows of all of these, by asset.
        """
        if not assets and not segments:
            return {}
        new_rows = {row.asset_id: row for row in assets}
        ids = list(new_rows.keys() | {row.asset_id for row in segments})
        stored, begun = self._known(ids, side_by_side=bool(segments))
        if segments:
            new = dict.fromkeys(row.asset_id for row in segments if row.asset_id not in stored)
            self._rows.upsert(LOCATIONS, list(map(deletion_note, new)))
            latest_rows = {
                row.asset_id: {**stored, **new_rows}.get(row.asset_id) for row in segments
            }
            columns = {asset_id: values_of(row) for asset_id, row in latest_rows.items() if row}
            new_ids = frozenset(ids) - stored.keys() - begun
            self._write(segments, columns, values_of(UNKNOWN), new_ids)
        changed = [
            asset_id
            for asset_id, row in new_rows.items()
            if asset_id in begun
            or (asset_id in stored and values_of(stored[asset_id]) != values_of(row))
        ]
        if changed and segments:
            self._link.catch_up()
        self._refresh({asset_id: values_of(new_rows[asset_id]) for asset_id in changed})
        return stored

    def commit(self, assets: Sequence[AssetRow], stored: Mapping[str, AssetRow]) -> None:
        """Write the places of commit rows, then the rows; ``stored`` is what `write` returned."""
        if not assets:
            return
        places = [place for row in assets for place in locations_to_dicts(row)]
        self._rows.upsert(LOCATIONS, places)
        self._rows.upsert(ASSETS, list(map(asset_to_dict, assets)))
        new_ids = [row.asset_id for row in assets if row.asset_id not in stored]
        notes = [deletion_note(asset_id)[LOCATIONS.key] for asset_id in new_ids]
        self._rows.remove(LOCATIONS, notes)

    def _known(
        self, asset_ids: Sequence[str], *, side_by_side: bool
    ) -> tuple[dict[str, AssetRow], set[str]]:
        """The commit rows, and the assets without one that have segments.

        In parallel before a write, as the first read of a collection after one waits for it.
        """
        if not side_by_side:
            stored = self._stored(asset_ids)
            return stored, self._begun([key for key in asset_ids if key not in stored])
        with ThreadPoolExecutor(1, "milvus-write") as thread:
            begun = thread.submit(self._begun, asset_ids)
            stored = self._stored(asset_ids)
            return stored, begun.result() - stored.keys()

    def _stored(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        rows = self._rows.of(ASSETS, "asset_id", asset_ids)
        return {row["asset_id"]: asset_from_dict(row) for row in rows}

    def _begun(self, asset_ids: Ids[str]) -> set[str]:
        begun_ids: set[str] = set()
        for ids in in_batches(sorted(asset_ids), _ASSETS_PER_READ):
            rows = self._rows.where(self._segments, among("asset_id", ids), ["asset_id"])
            begun_ids.update(row["asset_id"] for row in rows)
        return begun_ids

    def _write(
        self,
        segments: Sequence[SegmentRow],
        columns: Mapping[str, Mapping[str, Any]],
        unknown: Mapping[str, Any],
        new: Ids[str],
    ) -> None:
        parts: dict[str, tuple[Rows, Rows]] = {}
        # Higher rows first: see `Partitions.of`.
        for segment in sorted(segments, key=lambda segment: -segment.row):
            row = segment_to_dict(segment, columns.get(segment.asset_id, unknown))
            is_new = segment.asset_id in new
            parts.setdefault(partition_of_row(row), ([], []))[is_new].append(row)
        for partition, (replaced, unseen) in parts.items():
            self._partitions.ensure(partition)
            self._rows.upsert(self._segments, replaced, partition_name=partition)
            self._rows.insert(self._segments, unseen, partition_name=partition)

    def _refresh(self, columns: Mapping[str, Mapping[str, Any]]) -> None:
        """Update the columns that segments have of their assets, without encoding anything."""
        for ids in in_batches(list(columns), _ASSETS_PER_READ):
            parts: dict[str, Rows] = {}
            for row in self._rows.where(
                self._segments,
                among("asset_id", ids),
                self._segments.whole,
                at_first=_ASSETS_PER_READ * 4,
            ):
                updated = {**row, **columns[row["asset_id"]]}
                parts.setdefault(partition_of_row(row), []).append(updated)
            for partition, rows in parts.items():
                self._rows.upsert(self._segments, rows, partition_name=partition)


class Removal:
    """Removes rows. Safe to use from threads."""

    def __init__(self, rows: MilvusRows, words: MilvusWords | None) -> None:
        self._rows = rows
        self._segments = rows.segments
        self._words = words

    def of_assets(self, asset_ids: Sequence[str]) -> None:
        """Remove commit rows first, then the segments; unknown ids are ignored.

        A note of each asset is written before and removed after all else, so that a deletion that
        was cut off can be completed: see `noted`.
        """
        notes = map(deletion_note, dict.fromkeys(asset_ids))
        self._rows.upsert(LOCATIONS, list(notes))
        self._rows.delete([ASSETS, self._segments], asset_ids)
        if self._words:
            self._words.removed(asset_ids)
        self._rows.delete([LOCATIONS], asset_ids)

    def noted(self) -> list[str]:
        """The assets whose deletion began and did not end."""
        notes = self._rows.where(LOCATIONS, among("uri_key", [DELETION]), ["asset_id"])
        return [row["asset_id"] for row in notes]

    def complete(self, asset_ids: Sequence[str], stored: Container[str]) -> None:
        """End the deletion of assets, except of those that are stored (again)."""
        if gone := [asset_id for asset_id in asset_ids if asset_id not in stored]:
            self.of_assets(gone)
        notes = [
            deletion_note(asset_id)[LOCATIONS.key] for asset_id in asset_ids if asset_id in stored
        ]
        self._rows.remove(LOCATIONS, notes)
