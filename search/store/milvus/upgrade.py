"""Upgrade a store from schema 6 to schema 7: its segments get the columns that filters use.

Milvus cannot add fields to a collection, so the rows are copied to a new one, without encoding
anything, page by page in the order of their keys. The progress is a property of the new collection:
an upgrade that was killed continues from there. Until everything is copied, everybody reads the old
collection, which is dropped last.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from encoder.system.batched import in_batches
from search.errors import ReadOnlyStoreError
from search.filters.columns import blank_values, values_of
from search.store.checking import Progress
from search.store.milvus.link import MilvusLink
from search.store.milvus.notes import calibration_of, drop_calibration, keep_calibration
from search.store.milvus.rows import MilvusRows, Partitions, Rows
from search.store.schema import (
    ASSETS,
    Collection,
    asset_from_dict,
    old_segments_collection,
    segments_collection,
)

_STATE = "anymodal.upgrade"
_DONE = "done"
_ROWS_PER_PAGE = 1000


class Version:
    """Which of the two versions a store has; one that `is_old` is searched, but not written to."""

    def __init__(self, link: MilvusLink, embed_dim: int, name_of: Callable[[str], str]) -> None:
        self._link = link
        self.old = old_segments_collection(embed_dim)
        new = segments_collection(embed_dim, arrays=not link.is_lite)
        self._old_name, self._new_name = name_of(self.old.kind), name_of(new.kind)
        collections = link.call("list_collections")
        if link.is_lite:
            has_filters = self._new_name in collections and new.unread[0] in self._fields()
            new = segments_collection(embed_dim, arrays=False, filters=has_filters)
        self.new = new
        self.is_old = self._old_name in collections and (
            self._new_name not in collections or self._state() != _DONE
        )

    @property
    def segments(self) -> Collection:
        return self.old if self.is_old else self.new

    def check(self) -> None:
        """Raise a `ReadOnlyStoreError` for a store that `is_old`."""
        if self.is_old:
            raise ReadOnlyStoreError(
                f"The store {self._link.shown} is from an earlier version: it can be searched, but "
                "not written to.",
                remedy="Run `anymodal store upgrade` while nothing writes to it; nothing is "
                "encoded again.",
            )

    def upgrade(self, rows: MilvusRows, progress: Progress) -> int:
        """Copy all rows of committed assets, then drop the old collection; return how many it had.

        ``rows`` are of both collections; the new one is empty or partly filled.
        """
        keep_calibration(self._link, self._new_name, calibration_of(self._link, self._old_name))
        self._link.catch_up()
        n_rows, n_done = rows.count(self.old), 0
        last_partition, last_key = json.loads(self._state() or '["", ""]')
        partitions = Partitions(self._link, self._new_name)
        for partition in Partitions(self._link, self._old_name).every():
            if partition < last_partition:
                continue
            partitions.ensure(partition)
            old_rows = rows.where(
                self.old,
                "",
                self.old.whole,
                after=last_key if partition == last_partition else "",
                partition=partition,
                at_first=_ROWS_PER_PAGE,
            )
            for page in in_batches(old_rows, _ROWS_PER_PAGE):
                self._copy(rows, page, partition)
                n_done += len(page)
                progress(n_done, max(n_rows, n_done))
        self._set({_STATE: _DONE})
        drop_calibration(self._link, self._old_name)
        self._link.call("drop_collection", self._old_name)
        self.is_old = False
        return n_rows

    def _copy(self, rows: MilvusRows, page: Rows, partition: str) -> None:
        """Write a page; rows of assets without a commit row are left behind."""
        ids = list({row["asset_id"] for row in page})
        blank = blank_values() if self.new.unread else {}
        columns = {
            row["asset_id"]: values_of(asset_from_dict(row)) if not self._link.is_lite else blank
            for row in rows.of(ASSETS, "asset_id", ids)
        }
        new_rows = [
            {**row, **columns[row["asset_id"]]} for row in page if row["asset_id"] in columns
        ]
        rows.upsert(self.new, new_rows, partition_name=partition)
        rows.flush(self.new)
        self._set({_STATE: json.dumps([partition, page[-1]["segment_id"]])})

    def _fields(self) -> set[str]:
        fields = self._link.call("describe_collection", self._new_name)["fields"]
        return {field["name"] for field in fields}

    def _state(self) -> str:
        facts = self._link.call("describe_collection", self._new_name)["properties"]
        return str(facts.get(_STATE, ""))

    def _set(self, properties: dict[str, str]) -> None:
        self._link.call("alter_collection_properties", self._new_name, properties=properties)
