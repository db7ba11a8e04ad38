"""How many segments there are of each kind, and some of their vectors, evenly over a collection."""

from __future__ import annotations

import numpy as np

from encoder.types import Embeddings, Modality
from search.filters.expressions import equals
from search.store.calibrated import from_stored
from search.store.milvus_link import MilvusLink
from search.store.milvus_partitions import Partitions
from search.store.milvus_rows import MilvusRows
from search.store.schema import Collection


class MilvusSample:
    """Looks at the segments as a whole.

    Args:
        link: the connection.
        rows: of the collections.
        segments: the collection.
        partitions: those of it.
    """

    def __init__(
        self, link: MilvusLink, rows: MilvusRows, segments: Collection, partitions: Partitions
    ) -> None:
        self._link = link
        self._rows = rows
        self._segments = segments
        self._partitions = partitions

    def sizes(self) -> dict[Modality, int]:
        """How many segments there are of each modality that has any."""
        counts = {Modality(name): self._size(name) for name in self._partitions.names()}
        return {modality: n for modality, n in counts.items() if n}

    def _size(self, partition: str) -> int:
        # Lite counts all partitions, whichever is asked for.
        expression = equals("modality", partition) if self._link.is_lite else ""
        return self._rows.count(self._segments, expression, partition)

    def vectors(self, modality: Modality, limit: int) -> Embeddings:
        """Unit rows [n, embed_dim] of at most ``limit`` segments, evenly over the store.

        Keys are hashes, so that those below a limit are drawn at random, and the same each time.
        """
        embed_dim = int(self._segments.fields[-1].params["dim"]) - 1
        name, key, vector = str(modality), self._segments.key, self._segments.vector
        size = self._size(name) if self._partitions.has(name, look=True) else 0
        if not size:
            return np.empty((0, embed_dim), np.float32)
        share = limit / size
        rows = self._link.call(
            "query",
            self._rows.name(self._segments),
            filter=f'{key} < "{int(share * 16**8):08x}"' if share < 1 else "",
            partition_names=[name],
            limit=limit,
            output_fields=[vector],
            **self._rows.fresh(),
        )
        kept = [from_stored(row[vector]) for row in rows]
        return np.stack(kept) if kept else np.empty((0, embed_dim), np.float32)
