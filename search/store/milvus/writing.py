"""Write and remove assets: commit rows, and segments with the columns that filters use."""

from __future__ import annotations

from collections.abc import Collection as Ids
from collections.abc import Container, Mapping, Sequence
from typing import Any

from encoder.system.batched import in_batches
from encoder.types import TEXT, Modality
from search.filters.columns import UNKNOWN, values_of
from search.filters.milvus import among, equals
from search.store.lanes import StoreLanes, to_fill
from search.store.milvus.notes import drop_calibration
from search.store.milvus.rows import MilvusRows, Rows
from search.store.milvus.words import MilvusWords
from search.store.schema import (
    ASSETS,
    DELETION,
    LOCATIONS,
    asset_from_dict,
    asset_to_dict,
    counts_of,
    deletion_note,
    locations_to_dicts,
    partition_of_row,
    segment_to_dict,
    segments_collection,
)
from search.types import AssetRow, SegmentRow

_ASSETS_PER_READ = 200
_Stored = Mapping[str, Mapping[str, Any]]
"""Commit rows as Milvus has them, by asset."""


class MilvusWriter:
    """Writes and removes rows. Safe to use from threads."""

    def __init__(self, rows: MilvusRows, lanes: StoreLanes, words: MilvusWords | None) -> None:
        self._rows = rows
        self._link = rows.link
        self._lanes = lanes
        self._words = words

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        """Write segments, bring stored ones of these assets up to date, and write commit rows.

        Lanes that are filled get the segments of assets that are stored alone.

        On a server, new assets are noted as to be deleted until `commit`, so that whoever opens the
        store next removes what a write that was cut off has left. It sees what anyone had written
        by the last `MilvusLink.catch_up`.
        """
        stored = self._stored(
            {*(row.asset_id for row in assets), *(row.asset_id for row in segments)}
        )
        rows = {asset_id: self._read(row) for asset_id, row in stored.items()}
        if self._lanes.filling:
            assets, segments = to_fill(rows, assets, segments)
        new_rows = {row.asset_id: row for row in assets}
        of_new = {row.asset_id for row in segments} - stored.keys()
        notes = [
            deletion_note(new)["location_id"] for new in of_new | new_rows.keys() - stored.keys()
        ]
        # These may have segments without a commit row.
        noted = self._rows.of(LOCATIONS, LOCATIONS.key, notes, ["asset_id"])
        begun = {row["asset_id"] for row in noted}
        self._rows.upsert(LOCATIONS, list(map(deletion_note, sorted(of_new))))
        self._write(segments, {**rows, **new_rows}, of_new - begun)
        changed = [
            asset_id
            for asset_id, row in new_rows.items()
            if asset_id in begun
            or (asset_id in stored and values_of(rows[asset_id]) != values_of(row))
        ]
        if changed and segments:
            self._link.catch_up()
        self._refresh({asset_id: values_of(new_rows[asset_id]) for asset_id in changed})
        self.commit(assets, stored)

    def commit(self, assets: Sequence[AssetRow], stored: _Stored) -> None:
        """Write the places of commit rows, then the rows; ``stored`` are the former ones."""
        locations = [location for row in assets for location in locations_to_dicts(row)]
        self._rows.upsert(LOCATIONS, locations)
        self._rows.upsert(ASSETS, [self._counted(row, stored) for row in assets])
        new_ids = [row.asset_id for row in assets if row.asset_id not in stored]
        notes = [deletion_note(asset_id)[LOCATIONS.key] for asset_id in new_ids]
        self._rows.delete(LOCATIONS, LOCATIONS.key, notes)

    def uncount(self, asset_ids: Sequence[str], space: str, modality: Modality | None) -> None:
        """Have assets count nothing in a space, of a modality or of all."""
        changed = []
        for row in self._rows.of(ASSETS, ASSETS.key, asset_ids):
            counts = counts_of(row)
            remaining = {
                (s, m): n for (s, m), n in counts.items() if s != space or modality not in (m, None)
            }
            if remaining != counts:
                changed.append(asset_to_dict(self._read(row), remaining))
        self._rows.upsert(ASSETS, changed)

    def _read(self, row: Mapping[str, Any]) -> AssetRow:
        return asset_from_dict(row, self._lanes)

    def _counted(self, row: AssetRow, stored: _Stored) -> dict[str, Any]:
        """A commit row, with what its asset counts in other lanes."""
        former = stored.get(row.asset_id)
        counts = self._lanes.changed(counts_of(former) if former else {}, row.counts)
        return asset_to_dict(row, counts)

    def _stored(self, asset_ids: Ids[str]) -> _Stored:
        rows = self._rows.of(ASSETS, ASSETS.key, sorted(asset_ids))
        return {row["asset_id"]: row for row in rows}

    def _write(
        self, segments: Sequence[SegmentRow], assets: Mapping[str, AssetRow], new: Ids[str]
    ) -> None:
        """Write segments with columns of their assets; there are none of the ``new`` assets."""
        columns = {row.asset_id: values_of(assets.get(row.asset_id, UNKNOWN)) for row in segments}
        parts: dict[tuple[str, str], tuple[Rows, Rows]] = {}
        # Higher rows first: see `Partitions.of`.
        last = {segment.key: segment for segment in segments}
        for segment in sorted(last.values(), key=lambda segment: -segment.row):
            row = segment_to_dict(segment, columns[segment.asset_id])
            part = self._lanes.space(segment.modality).fingerprint, partition_of_row(row)
            parts.setdefault(part, ([], []))[segment.asset_id in new].append(row)
        for (space, partition), (replaced, unseen) in parts.items():
            collection = segments_collection(space)
            self._rows.partitions(collection).ensure(partition)
            self._rows.upsert(collection, replaced, partition_name=partition)
            self._rows.insert(collection, unseen, partition_name=partition)
        if self._words:
            self._words.added(segments)

    def _refresh(self, columns: Mapping[str, Mapping[str, Any]]) -> None:
        """Update the columns that segments of all lanes have of their assets."""
        for collection in self._rows.segments_of_all() if columns else ():
            for ids in in_batches(list(columns), _ASSETS_PER_READ):
                parts: dict[str, Rows] = {}
                for row in self._rows.where(
                    collection,
                    among("asset_id", ids),
                    collection.whole,
                    at_first=_ASSETS_PER_READ * 4,
                ):
                    updated = {**row, **columns[row["asset_id"]]}
                    parts.setdefault(partition_of_row(row), []).append(updated)
                for partition, rows in parts.items():
                    self._rows.upsert(collection, rows, partition_name=partition)

    def remove(self, asset_ids: Sequence[str]) -> None:
        """Remove commit rows first, then the segments of all lanes; unknown ids are ignored.

        A note of each asset is written before and removed after all else, so that a deletion that
        was cut off can be completed: see `cut_off`.
        """
        notes = map(deletion_note, dict.fromkeys(asset_ids))
        self._rows.upsert(LOCATIONS, list(notes))
        for collection in (ASSETS, *self._rows.of_all_spaces(), LOCATIONS):
            self._rows.delete(collection, "asset_id", asset_ids)

    def remove_segments(self, asset_ids: Sequence[str], modalities: Ids[Modality] = ()) -> None:
        """Remove the segments of these modalities, or of all, in these lanes."""
        for space in self._lanes.spaces:
            collection = segments_collection(space)
            for modality in self._rows.partitions(collection).modalities() if asset_ids else ():
                if self._lanes.has(space, modality) and modality in (modalities or {modality}):
                    of_kind = equals("modality", modality)
                    self._rows.delete(collection, "asset_id", asset_ids, of_kind)
        if self._words and TEXT in (modalities or {TEXT}):
            self._rows.delete(self._words.collection, "asset_id", asset_ids)

    def remove_lane(self, space: str, modality: Modality) -> int:
        """Remove a lane that is not searched; return how many rows it had."""
        collections = [each for each in self._rows.of_all_spaces() if each.space == space]
        if not collections:
            return 0
        segments, *_ = collections
        partitions = self._rows.partitions(segments)
        names = partitions.of(modality, look=True)
        n_rows = self._rows.count(segments, partitions=names) if names else 0
        if is_last := not {*partitions.modalities()} - {modality}:
            drop_calibration(self._link, self._rows.name(segments))
        else:
            partitions.drop(modality)
        for collection in reversed(collections):  # segments last: by them the lane is known
            if is_last or (modality == TEXT and collection is not segments):
                self._rows.drop(collection)
        return n_rows

    def cut_off(self) -> list[str]:
        """The assets whose deletion began and did not end."""
        notes = self._rows.where(LOCATIONS, among("uri_key", [DELETION]), ["asset_id"])
        return [row["asset_id"] for row in notes]

    def complete(self, asset_ids: Sequence[str], stored: Container[str]) -> None:
        """End the deletion of assets, except of those that are stored (again)."""
        if gone := [asset_id for asset_id in asset_ids if asset_id not in stored]:
            self.remove(gone)
        notes = [
            deletion_note(asset_id)[LOCATIONS.key] for asset_id in asset_ids if asset_id in stored
        ]
        self._rows.delete(LOCATIONS, LOCATIONS.key, notes)
