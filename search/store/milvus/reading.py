"""Read commit rows and segments from Milvus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from operator import attrgetter

from encoder.types import Embeddings, Modality
from search.filters import Compiled, Filter, compile_filter, matches
from search.filters.milvus import equals
from search.store.calibrated import from_stored
from search.store.milvus.link import MilvusLink
from search.store.milvus.rows import MAX_ROWS, MilvusRows, Partitions
from search.store.schema import ASSETS, LOCATIONS, asset_from_dict, segment_from_dict, uri_key
from search.store.segments import Collection
from search.store.several import FIRST_ROWS, by_segment
from search.types import AssetRow, SegmentRow

_ALL = Compiled("", True)


class MilvusReading:
    """The part of a `VectorStore` that reads rows. Safe to use from threads.

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
        self._fields = [*segments.scalars, segments.vector]

    def select(
        self, filter: Filter | None, *, limit: int | None = None, after: str = ""
    ) -> Iterator[str]:
        """See `VectorStore.select`."""
        compiled = self._compiled(filter)
        if filter is None or compiled.exact:
            rows = self._rows.where(ASSETS, compiled.expression, ["asset_id"], limit, after=after)
            return (row["asset_id"] for row in rows)
        rows = self._rows.where(
            ASSETS, compiled.expression, ASSETS.scalars, after=after, at_first=limit or MAX_ROWS
        )
        ids = (row["asset_id"] for row in rows if matches(filter, asset_from_dict(row)))
        return islice(ids, limit)

    def count(self, filter: Filter | None = None) -> int:
        """See `VectorStore.count`."""
        return self._rows.count(ASSETS, self._compiled(filter).expression)

    def assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        """See `VectorStore.assets`."""
        rows = self._rows.of(ASSETS, "asset_id", list(dict.fromkeys(asset_ids)))
        return {row["asset_id"]: asset_from_dict(row) for row in rows}

    def assets_at(self, uris: Sequence[str]) -> dict[str, list[AssetRow]]:
        """See `VectorStore.assets_at`."""
        uri_of = {uri_key(uri): uri for uri in uris}
        rows = self._rows.of(LOCATIONS, "uri_key", list(uri_of))
        links = [(row["uri_key"], row["asset_id"]) for row in rows]
        rows_by_id = self.assets([asset_id for _, asset_id in links])
        rows_at: dict[str, list[AssetRow]] = {}
        for key, asset_id in sorted(links):
            if (row := rows_by_id.get(asset_id)) and uri_of[key] in row.locations:
                rows_at.setdefault(uri_of[key], []).append(row)
        return rows_at

    def scan(self, filter: Filter | None = None) -> Iterator[AssetRow]:
        """See `VectorStore.scan`."""
        self._link.catch_up()
        expression = self._compiled(filter).expression
        for row in map(asset_from_dict, self._rows.where(ASSETS, expression, ASSETS.scalars)):
            if filter is None or matches(filter, row):
                yield row

    def _compiled(self, filter: Filter | None) -> Compiled:
        return compile_filter(filter, infix=self._link.knows_infix) if filter else _ALL

    def embeddings(self, asset_id: str) -> list[SegmentRow]:
        """See `VectorStore.embeddings`."""
        rows = self._rows.where(self._segments, equals("asset_id", asset_id), self._fields)
        return sorted(map(segment_from_dict, rows), key=attrgetter("modality", "index", "row"))

    def segments(self) -> Iterator[SegmentRow]:
        """All segments with their embeddings, also of assets without a commit row."""
        return map(segment_from_dict, self._rows.where(self._segments, "", self._fields))

    def vectors(self, keys: Sequence[str]) -> dict[str, Embeddings]:
        """See `VectorStore.vectors`."""
        key, vector = self._segments.key, self._segments.vector
        rows = self._rows.of(self._segments, key, keys, [vector])
        return {row[key]: from_stored(row[vector]) for row in rows}

    def sizes(self) -> dict[Modality, int]:
        """The number of segments of each modality that has any."""
        counts = {Modality(name): self._size(name) for name in self._partitions.modalities()}
        return {modality: n for modality, n in counts.items() if n}

    def _size(self, partition: str) -> int:
        # Lite counts all partitions, whichever is asked for.
        of_kind = f"{equals('modality', partition)} and {FIRST_ROWS}"
        expression = of_kind if self._link.is_lite else ""
        return self._rows.count(self._segments, expression, [partition])

    def sample(self, modality: Modality, limit: int) -> Embeddings:
        """Unit rows [n, n_rows, embed_dim] of at most ``limit`` segments, evenly over the store.

        Keys are hashes, so those below a limit are a random sample, and the same each time.
        """
        embed_dim = int(self._segments.fields[-1].params["dim"]) - 1
        key = self._segments.key
        parts = self._partitions.of(modality, look=True)
        size = self._size(modality) if parts else 0
        share = limit / max(size, 1)
        below = f'{key} < "{int(share * 16**8):08x}"' if share < 1 else ""
        rows = [
            row
            for partition in parts
            for row in self._rows.where(self._segments, below, self._fields, partition=partition)
        ]
        return by_segment(map(segment_from_dict, rows), embed_dim)[:limit]


_MAX_JOINED = 2000  # the most assets whose texts are searched by their ids
