"""LanceDB, Qdrant and Chroma in this process, each as shown on its first page.

Run in the environment that has them:

…/bin/python peers.py NAME fill|ask FOLDER
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
from protocol import LIMIT, Rows, main  # type: ignore[import-not-found]


class LanceDB:
    """A table; without an index it compares all rows."""

    def __init__(self, folder: Path) -> None:
        import lancedb  # type: ignore[import-not-found]

        self._db = lancedb.connect(folder)
        self._table: Any = None
        if "rows" in self._db.list_tables().tables:
            self._table = self._db.open_table("rows")

    def add(self, ids: Sequence[int], rows: Rows, tenth: Sequence[bool]) -> None:
        """See `protocol.Peer`."""
        values = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
        part = pa.table({"id": list(ids), "tenth": list(tenth), "vector": values})
        if self._table is None:
            self._table = self._db.create_table("rows", part)
        else:
            self._table.add(part)

    def finish(self) -> None:
        """See `protocol.Peer`; LanceDB advises joining small files."""
        self._table.optimize()

    def nearest(self, query: Rows, tenth: bool) -> list[int]:
        """See `protocol.Peer`."""
        asked = self._table.search(query).distance_type("dot").select(["id", "_distance"])
        if tenth:
            asked = asked.where("tenth = true")
        return [int(one) for one in asked.limit(LIMIT).to_arrow()["id"].to_pylist()]


class IndexedLanceDB(LanceDB):
    """The same with its graph index, and an index of the tag."""

    def finish(self) -> None:
        """See `protocol.Peer`."""
        from lancedb.index import Bitmap, HnswSq  # type: ignore[import-not-found]

        super().finish()
        self._table.create_index("vector", config=HnswSq(distance_type="dot"))
        self._table.create_index("tenth", config=Bitmap())


class Qdrant:
    """Its local mode, which is numpy over all rows."""

    def __init__(self, folder: Path) -> None:
        from qdrant_client import QdrantClient, models  # type: ignore[import-not-found]

        self._models = models
        self._client = QdrantClient(path=str(folder))

    def add(self, ids: Sequence[int], rows: Rows, tenth: Sequence[bool]) -> None:
        """See `protocol.Peer`."""
        models = self._models
        if not self._client.collection_exists("rows"):
            params = models.VectorParams(size=rows.shape[1], distance=models.Distance.DOT)
            self._client.create_collection("rows", vectors_config=params)
        payloads = [{"tenth": one} for one in tenth]
        batch = models.Batch(ids=list(ids), vectors=rows.tolist(), payloads=payloads)
        self._client.upsert("rows", batch)

    def finish(self) -> None:
        """See `protocol.Peer`."""

    def nearest(self, query: Rows, tenth: bool) -> list[int]:
        """See `protocol.Peer`."""
        models = self._models
        has = models.FieldCondition(key="tenth", match=models.MatchValue(value=True))
        found = self._client.query_points(
            "rows",
            query=query,
            limit=LIMIT,
            query_filter=models.Filter(must=[has]) if tenth else None,
            with_payload=False,
        )
        return [int(point.id) for point in found.points]


class Chroma:
    """Its persistent client: hnswlib and SQLite."""

    def __init__(self, folder: Path) -> None:
        import chromadb  # type: ignore[import-not-found]
        from chromadb.config import Settings  # type: ignore[import-not-found]

        client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
        self._rows = client.get_or_create_collection(
            "rows", configuration={"hnsw": {"space": "ip"}}, embedding_function=None
        )

    def add(self, ids: Sequence[int], rows: Rows, tenth: Sequence[bool]) -> None:
        """See `protocol.Peer`."""
        named = [str(one) for one in ids]
        self._rows.add(named, embeddings=rows, metadatas=[{"tenth": one} for one in tenth])

    def finish(self) -> None:
        """See `protocol.Peer`."""

    def nearest(self, query: Rows, tenth: bool) -> list[int]:
        """See `protocol.Peer`."""
        where = {"tenth": True} if tenth else None
        found = self._rows.query(query[None], n_results=LIMIT, where=where, include=[])
        return [int(one) for one in found["ids"][0]]


if __name__ == "__main__":
    main(
        {
            "LanceDB": LanceDB,
            "LanceDB, indexed": IndexedLanceDB,
            "Qdrant, local": Qdrant,
            "Chroma": Chroma,
        }
    )
