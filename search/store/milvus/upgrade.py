"""Upgrade a store from schema 6 to schema 7: its segments get the columns that filters use.

Milvus cannot add fields to a collection, so the rows are copied to a new one, without encoding
anything, page by page in the order of their keys. The progress is a property of the new collection:
an upgrade that was killed continues from there. Until everything is copied, everybody reads the old
collection, which is dropped last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from search.errors import ReadOnlyStoreError
from search.filters.columns import values_of
from search.store.milvus.link import MilvusLink
from search.store.milvus.partitions import Partitions
from search.store.milvus.rows import MilvusRows, Rows
from search.store.schema import ASSETS, asset_from_dict, calibration_property, written_calibration
from search.store.segments import Collection, old_segments_collection, segments_collection

_STATE = "anymodal.upgrade"
_DONE = "done"
_ROWS_PER_PAGE = 1000

Progress = Callable[[int, int], object]
"""Called with the number of rows that have been copied, and that of all."""


class Version:
    """Which of the two versions a store has; one that `is_old` is searched, but not written to.

    Args:
        link: the connection.
        embed_dim: the size of an embedding.
        named: the name of a collection, by its kind.
    """

    def __init__(self, link: MilvusLink, embed_dim: int, named: Callable[[str], str]) -> None:
        self._link = link
        self.old = old_segments_collection(embed_dim)
        self.new = segments_collection(embed_dim, arrays=not link.is_lite)
        self.is_old = _is_old(link, named(self.old.kind), named(self.new.kind))

    @property
    def segments(self) -> Collection:
        """The collection that holds the segments."""
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
        """See `upgrade`; ``rows`` are those of both collections."""
        n_rows = upgrade(self._link, rows, self.old, self.new, progress)
        self.is_old = False
        return n_rows


def _is_old(link: MilvusLink, old: str, new: str) -> bool:
    """Whether a store's segments still have to be read from the old collection."""
    present = link.call("list_collections")
    if old not in present:
        return False
    return new not in present or _state(link, new) != _DONE


def upgrade(
    link: MilvusLink, rows: MilvusRows, old: Collection, new: Collection, progress: Progress
) -> int:
    """Copy all rows of committed assets, then drop the old collection; return how many rows it had.

    Args:
        link: the connection.
        rows: of both collections.
        old: that of schema 6.
        new: that of schema 7; it exists, empty or partly filled.
        progress: see above.
    """
    name = rows.name(new)
    calibration = written_calibration(
        link.call("describe_collection", rows.name(old))["properties"]
    )
    link.call("alter_collection_properties", name, properties=calibration_property(calibration))
    link.catch_up()
    n_rows = n_done = rows.count(old)
    done, after = json.loads(_state(link, name) or '["", ""]')
    here, there = Partitions(link, rows.name(old)), Partitions(link, name)
    n_done = 0
    for partition in here.every():
        if partition < done:
            continue
        there.ensure(partition)
        last = after if partition == done else ""
        page: Rows = []
        found = rows.where(
            old, "", old.whole, after=last, partition=partition, at_first=_ROWS_PER_PAGE
        )
        for row in found:
            page.append(row)
            if len(page) == _ROWS_PER_PAGE:
                n_done = _copy(link, rows, new, page, partition, n_done)
                progress(n_done, max(n_rows, n_done))
                page = []
        n_done = _copy(link, rows, new, page, partition, n_done)
        progress(n_done, max(n_rows, n_done))
    link.call("alter_collection_properties", name, properties={_STATE: _DONE})
    link.call("drop_collection", rows.name(old))
    return n_rows


def _copy(
    link: MilvusLink,
    rows: MilvusRows,
    new: Collection,
    page: Sequence[dict[str, Any]],
    partition: str,
    n_done: int,
) -> int:
    """Write a page; rows of assets without a commit row are left behind."""
    if not page:
        return n_done
    ids = list({row["asset_id"] for row in page})
    assets = {row["asset_id"]: asset_from_dict(row) for row in rows.of(ASSETS, "asset_id", ids)}
    columns = {one: values_of(row, arrays=not link.is_lite) for one, row in assets.items()}
    kept = [{**row, **columns[row["asset_id"]]} for row in page if row["asset_id"] in columns]
    rows.upsert(new, kept, partition_name=partition)
    rows.flush(new)
    place = json.dumps([partition, page[-1]["segment_id"]])
    link.call("alter_collection_properties", rows.name(new), properties={_STATE: place})
    return n_done + len(page)


def _state(link: MilvusLink, name: str) -> str:
    return str(link.call("describe_collection", name)["properties"].get(_STATE, ""))
