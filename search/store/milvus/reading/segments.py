"""Read segments with their embeddings: of an asset, of some keys, or all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter

from encoder.types import Embeddings
from search.filters.expressions import equals
from search.store.calibrated import from_stored
from search.store.milvus.rows import MilvusRows
from search.store.schema import segment_from_dict
from search.store.segments import Collection
from search.types import SegmentRow


class MilvusSegments:
    """Reads segments. Safe to use from threads.

    Args:
        rows: of the collections.
        segments: the collection.
    """

    def __init__(self, rows: MilvusRows, segments: Collection) -> None:
        self._rows = rows
        self._segments = segments
        self._fields = [*segments.scalars, segments.vector]

    def of(self, asset_id: str) -> list[SegmentRow]:
        """See `VectorStore.embeddings`."""
        found = self._rows.where(self._segments, equals("asset_id", asset_id), self._fields)
        return sorted(map(segment_from_dict, found), key=attrgetter("modality", "index", "row"))

    def all(self) -> Iterator[SegmentRow]:
        """See `MilvusStore.segments`."""
        return map(segment_from_dict, self._rows.where(self._segments, "", self._fields))

    def vectors(self, keys: Sequence[str]) -> dict[str, Embeddings]:
        """See `VectorStore.vectors`."""
        key, vector = self._segments.key, self._segments.vector
        rows = self._rows.of(self._segments, key, keys, [vector])
        return {row[key]: from_stored(row[vector]) for row in rows}
