"""The index next to Milvus Lite, filled without Lite's rows, which would take hours."""

from __future__ import annotations

from collections.abc import Sequence

from encoder.types import IMAGE, TEXT
from search.store.embedded.store import EmbeddedStore
from search.store.several import partition_of
from search.types import AssetRow, SegmentRow


class IndexAlone:
    """Writes as the store does, but leaves the record empty.

    Args:
        store: whose index it is.
    """

    def __init__(self, store: EmbeddedStore) -> None:
        self._side = store._side
        with self._side.changing([]):
            for kind in (IMAGE, TEXT):  # so that the record can be asked to delete
                store.record._partitions.ensure(partition_of(kind, 0))
            self._side.put([], [])

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        """See `VectorStore.write`; the rows are known to be good."""
        with self._side.changing([row.asset_id for row in assets]):
            self._side.put(assets, segments)
