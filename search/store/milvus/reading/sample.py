"""Count the segments of each kind, and sample their vectors evenly over a collection."""

from __future__ import annotations

from encoder.types import Embeddings, Modality
from search.filters.expressions import equals
from search.store.milvus.link import MilvusLink
from search.store.milvus.partitions import Partitions
from search.store.milvus.rows import MilvusRows
from search.store.schema import segment_from_dict
from search.store.segments import Collection
from search.store.several import FIRST_ROWS, by_segment


class MilvusSample:
    """Counts and samples segments.

    Args:
        link: the connection.
        rows: of the collections.
        segments: the collection.
        partitions: the collection's.
    """

    def __init__(
        self, link: MilvusLink, rows: MilvusRows, segments: Collection, partitions: Partitions
    ) -> None:
        self._link = link
        self._rows = rows
        self._segments = segments
        self._partitions = partitions

    def sizes(self) -> dict[Modality, int]:
        """The number of segments of each modality that has any."""
        counts = {Modality(name): self._size(name) for name in self._partitions.modalities()}
        return {modality: n for modality, n in counts.items() if n}

    def _size(self, partition: str) -> int:
        # Lite counts all partitions, whichever is asked for.
        of_kind = f"{equals('modality', partition)} and {FIRST_ROWS}"
        expression = of_kind if self._link.is_lite else ""
        return self._rows.count(self._segments, expression, [partition])

    def vectors(self, modality: Modality, limit: int) -> Embeddings:
        """Unit rows [n, n_rows, embed_dim] of at most ``limit`` segments, evenly over the store.

        Keys are hashes, so those below a limit are a random sample, and the same each time.
        """
        embed_dim = int(self._segments.fields[-1].params["dim"]) - 1
        key = self._segments.key
        parts = self._partitions.of(modality, look=True)
        size = self._size(modality) if parts else 0
        share = limit / max(size, 1)
        below = f'{key} < "{int(share * 16**8):08x}"' if share < 1 else ""
        fields = [*self._segments.scalars, self._segments.vector]
        rows = [
            row
            for part in parts
            for row in self._rows.where(self._segments, below, fields, partition=part)
        ]
        return by_segment(map(segment_from_dict, rows), embed_dim)[:limit]
