"""Remove assets from all collections, and what is left of assets that are gone."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from itertools import islice

from encoder.types import TEXT
from search.filters.expressions import among
from search.store.milvus.rows import Keys, MilvusRows, Rows
from search.store.milvus.words import Words
from search.store.schema import (
    ASSETS,
    DELETION,
    LOCATIONS,
    WORDS,
    asset_from_dict,
    deletion_note,
    new_locations,
)
from search.store.segments import Collection
from search.store.several import partition_of

_ROWS_AT_ONCE = 4096


class Removal:
    """Removes rows. Safe to use from threads.

    Args:
        rows: of the collections.
        segments: the collection.
        words: of texts.
    """

    def __init__(self, rows: MilvusRows, segments: Collection, words: Words) -> None:
        self._rows = rows
        self._segments = segments
        self._words = words

    def of_assets(self, asset_ids: Sequence[str], keys: Keys | None) -> None:
        """Remove commit rows first, then the segments; unknown ids are ignored.

        Without keys, a note of each asset is written before and removed after all else, so that a
        deletion that was cut off can be completed: see `noted`.

        Args:
            asset_ids: the assets.
            keys: those of all their segments, in Milvus Lite, whose words have these keys too;
                None to look for them in all rows.
        """
        if keys is None:
            self._rows.upsert(LOCATIONS, [deletion_note(one) for one in dict.fromkeys(asset_ids)])
            self._rows.delete([ASSETS, self._segments], asset_ids)
            self._words.removed(asset_ids)
            self._rows.delete([LOCATIONS], asset_ids)
            return
        locations = self._locations(asset_ids)
        parts: dict[str, list[str]] = {}
        for asset_id in asset_ids:
            for partition, key in keys.get(asset_id, ()):
                parts.setdefault(partition, []).append(key)
        self._rows.remove(ASSETS, asset_ids)
        for partition, of in parts.items():
            self._rows.remove(self._segments, of, partition_name=partition)
        self._rows.remove(WORDS, parts.get(partition_of(TEXT, 0), []))
        self._rows.remove(LOCATIONS, locations)

    def noted(self) -> list[str]:
        """The assets whose deletion began and did not end."""
        notes = self._rows.where(LOCATIONS, among("uri_key", [DELETION]), ["asset_id"])
        return [row["asset_id"] for row in notes]

    def complete(self, asset_ids: Sequence[str], stored: Container[str]) -> None:
        """End the deletion of assets, except of those that are stored (again)."""
        if gone := [one for one in asset_ids if one not in stored]:
            self.of_assets(gone, None)
        notes = [deletion_note(one)[LOCATIONS.key] for one in asset_ids if one in stored]
        self._rows.remove(LOCATIONS, notes)

    def _locations(self, asset_ids: Sequence[str]) -> list[str]:
        """The keys of all places that the commit rows of these assets name."""
        stored = map(asset_from_dict, self._rows.of(ASSETS, ASSETS.key, asset_ids))
        return [row[LOCATIONS.key] for row in new_locations(stored, [])]

    def of_strays(self) -> None:
        """Remove words without a segment, and places that no commit row names.

        Writes and deletions that were cut off leave them, and earlier versions left places. From
        then on, the keys of an asset's segments are also those of its words.
        """
        for page in self._pages(WORDS, [WORDS.key]):
            keys = [row[WORDS.key] for row in page]
            key = self._segments.key
            there = {row[key] for row in self._rows.of(self._segments, key, keys, [key])}
            self._rows.remove(WORDS, [one for one in keys if one not in there])
        for page in self._pages(LOCATIONS, [LOCATIONS.key, "asset_id"]):
            named = set(self._locations([row["asset_id"] for row in page]))
            keys = [row[LOCATIONS.key] for row in page]
            self._rows.remove(LOCATIONS, [one for one in keys if one not in named])

    def _pages(self, kind: Collection, fields: Sequence[str]) -> Iterator[Rows]:
        found = self._rows.where(kind, "", fields)
        while page := list(islice(found, _ROWS_AT_ONCE)):
            yield page
