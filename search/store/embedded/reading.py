"""Read commit rows, and segments with their vectors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from encoder.system.batched import in_batches
from encoder.types import TEXT, Embeddings, Modality
from search.filters import Filter
from search.store.embedded import overview as in_tables
from search.store.embedded.rows import asset_of, modality_of, part_of, segment_of, slot_of
from search.store.embedded.tables import SEGMENT_COLUMNS, IndexTables, marks
from search.store.embedded.views import Views
from search.store.overview import Dated, Facets
from search.store.several import by_segment
from search.types import AssetRow, SegmentRow

_PER_QUERY = 1000
_MAX_SORTED = 20_000
"""Up to this many matches have their ids sorted; for more, all ids are read in order."""
_KEPT_FACETS = 16
_OF_SEGMENT = SEGMENT_COLUMNS.replace("key, no", "key, segment.no")
_SEGMENTS = (
    f"SELECT at, asset_id, part.modality, {_OF_SEGMENT} FROM segment JOIN asset USING (no) "
    "JOIN part ON part.part = segment.at >> 40"
)


class IndexReading:
    """Looks up what an index holds. Safe to use from threads.

    Args:
        tables: the index's.
        views: the views of the tables.
        embed_dim: the length of a vector.
    """

    def __init__(self, tables: IndexTables, views: Views, embed_dim: int) -> None:
        self._tables = tables
        self._views = views
        self._embed_dim = embed_dim
        self._facets: dict[tuple[int, str], Facets] = {}

    def sizes(self) -> dict[Modality, int]:
        """How many segments there are of each modality that has any."""
        sql = "SELECT modality, n_live FROM part WHERE number = 0 AND n_live > 0"
        with self._tables.reading() as db:
            return {modality_of(modality): n for modality, n in db.execute(sql).fetchall()}

    def sample(self, modality: Modality, limit: int) -> Embeddings:
        """See `VectorStore.sample`."""
        with self._tables.reading() as db:
            sql = "SELECT part, n_live FROM part WHERE modality = ? AND number = 0"
            part_no, n_live = db.execute(sql, (modality,)).fetchone() or (0, 0)
            step = max(1, -(-n_live // max(limit, 1)))
            rows: list[SegmentRow] = []
            if n_live:
                keys = db.execute(
                    "SELECT key FROM (SELECT key, row_number() OVER (ORDER BY key) AS n "
                    "FROM segment WHERE at >= ? AND at < ?) WHERE (n - 1) % ? = 0",
                    (part_no << 40, (part_no + 1) << 40, step),
                ).fetchall()
                rows = self._rows(db, "key", self._every_row(db, modality, [k for (k,) in keys]))
        return by_segment(rows, self._embed_dim)[:limit]

    def _every_row(
        self, db: sqlite3.Connection, modality: Modality, keys: Sequence[str]
    ) -> list[str]:
        """These keys, and those of their segments' further rows."""
        sql = "SELECT number FROM part WHERE modality = ? AND number > 0"
        numbers = [number for (number,) in db.execute(sql, (modality,))]
        return [*keys, *(f"{key}#{number}" for number in numbers for key in keys)]

    def embeddings(self, asset_id: str) -> list[SegmentRow]:
        """All segments of one asset with their vectors, by modality, index and row."""
        with self._tables.reading() as db:
            nos = db.execute("SELECT no FROM asset WHERE asset_id = ?", (asset_id,)).fetchall()
            rows = self._rows(db, "segment.no", [no for (no,) in nos])
        return sorted(rows, key=lambda row: (row.modality, row.index, row.row))

    def segments(self) -> Iterator[SegmentRow]:
        """All segments with their vectors, in the order of their keys, page by page."""
        after = ""
        sql = f"SELECT key FROM segment WHERE key > ? ORDER BY key LIMIT {_PER_QUERY}"
        while True:
            with self._tables.reading() as db:
                keys = [key for (key,) in db.execute(sql, (after,))]
                rows = {row.key: row for row in self._rows(db, "key", keys)}
            yield from (rows[key] for key in keys if key in rows)
            if not keys:
                return
            after = keys[-1]

    def texts(self) -> Iterator[tuple[str, str]]:
        """Keys and texts of all segments of text, page by page."""
        after = 0
        sql = (
            "SELECT at, key, snippet FROM segment JOIN part ON part.part = segment.at >> 40 "
            "WHERE at > ? AND modality = ? AND number = 0 ORDER BY at LIMIT ?"
        )
        while True:
            with self._tables.reading() as db:
                rows = db.execute(sql, (after, TEXT, _PER_QUERY)).fetchall()
            yield from ((key, text) for _, key, text in rows)
            if not rows:
                return
            after = rows[-1][0]

    def vectors(self, keys: Sequence[str]) -> dict[str, Embeddings]:
        """The vectors of these rows; those that are not stored are missing."""
        with self._tables.reading() as db:
            return {row.key: row.embedding for row in self._rows(db, "key", keys)}

    def _rows(
        self, db: sqlite3.Connection, column: str, values: Sequence[object]
    ) -> list[SegmentRow]:
        self._views.current(db)
        segments: list[SegmentRow] = []
        for batch in in_batches(values, _PER_QUERY):
            rows = db.execute(f"{_SEGMENTS} WHERE {column} IN ({marks(batch)})", batch).fetchall()
            slots: dict[int, list[int]] = {}
            for row in rows:
                slots.setdefault(part_of(row[0]), []).append(slot_of(row[0]))
            vectors = {
                (part_no, slot): vector
                for part_no, of in slots.items()
                for slot, vector in zip(
                    of, self._views.files(part_no).rows(np.array(of)), strict=True
                )
            }
            segments += [
                segment_of(
                    columns, asset_id, modality_of(modality), vectors[part_of(at), slot_of(at)]
                )
                for at, asset_id, modality, *columns in rows
            ]
        return segments

    def assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        """The commit rows of these ids; those that are not stored are missing."""
        with self._tables.reading() as db:
            return _assets(db, asset_ids)

    def assets_at(self, uris: Sequence[str]) -> dict[str, list[AssetRow]]:
        """The commit rows of the assets seen at each of these URIs."""
        rows_at: dict[str, list[AssetRow]] = {}
        unique_uris = list(dict.fromkeys(uris))
        with self._tables.reading() as db:
            for batch in in_batches(unique_uris, _PER_QUERY):
                sql = (
                    "SELECT uri, asset_id, row FROM location JOIN asset USING (no) "
                    f"WHERE uri IN ({marks(batch)}) ORDER BY asset_id"
                )
                for uri, asset_id, row in db.execute(sql, batch):
                    rows_at.setdefault(uri, []).append(asset_of(asset_id, row))
        return {uri: rows_at[uri] for uri in unique_uris if uri in rows_at}

    def count(self, filter: Filter | None) -> int:
        """How many assets there are, or a filter finds."""
        with self._tables.reading() as db:
            if filter is None:
                sql = "SELECT count(*) FROM asset WHERE row IS NOT NULL"
                return int(db.execute(sql).fetchone()[0])
            mask = self._views.assets(db, self._views.current(db), None, filter)
            return 0 if mask is None else int(np.count_nonzero(mask))

    def facets(self, filter: Filter | None) -> Facets:
        """See `search.store.overview.Overviewing`. Cached until something is written."""
        with self._tables.reading() as db:
            cache_key = self._views.current(db).version, repr(filter)
            counts = self._facets.get(cache_key)
            if counts is None:
                counts = in_tables.facets(db, self._nos(db, filter))
                if len(self._facets) >= _KEPT_FACETS:
                    self._facets.clear()
                self._facets[cache_key] = counts
            return counts

    def newest(
        self, filter: Filter | None, limit: int, after: Dated, reverse: bool = False
    ) -> list[Dated]:
        """See `search.store.overview.Overviewing`."""
        with self._tables.reading() as db:
            return in_tables.newest(db, self._nos(db, filter), limit, after, reverse)

    def _nos(self, db: sqlite3.Connection, filter: Filter | None) -> list[int] | None:
        """The numbers of the assets for which a filter holds; None for all."""
        mask = self._views.assets(db, self._views.current(db), None, filter)
        return None if mask is None else np.flatnonzero(mask).tolist()

    def select(self, filter: Filter | None, limit: int | None, after: str) -> Iterator[str]:
        """The ids of all assets for which a filter holds, in their order, page by page."""
        return islice(self._selected(filter, after, limit), limit)

    def _selected(self, filter: Filter | None, after: str, limit: int | None) -> Iterator[str]:
        size = min(limit or _PER_QUERY, _PER_QUERY)
        while True:
            with self._tables.reading() as db:
                mask = self._views.assets(db, self._views.current(db), None, filter)
                if mask is not None and np.count_nonzero(mask) <= _MAX_SORTED:
                    nos = np.flatnonzero(mask).tolist()
                    ids = db.execute(f"SELECT asset_id FROM asset WHERE no IN ({marks(nos)})", nos)
                    page = sorted(asset_id for (asset_id,) in ids if asset_id > after)
                    last = ""
                else:
                    rows = db.execute(
                        "SELECT asset_id, no FROM asset "
                        "WHERE asset_id > ? AND row IS NOT NULL ORDER BY asset_id LIMIT ?",
                        (after, size),
                    ).fetchall()
                    page = [asset_id for asset_id, no in rows if mask is None or mask[no]]
                    last = rows[-1][0] if len(rows) == size else ""
            yield from page
            if not last:
                return
            after, size = last, _PER_QUERY

    def scan(self, filter: Filter | None) -> Iterator[AssetRow]:
        """All commit rows for which a filter holds, in the order of their ids."""
        ids = self._selected(filter, "", None)
        for some in in_batches(ids, _PER_QUERY):
            yield from self.assets(some).values()


def _assets(db: sqlite3.Connection, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
    ids, rows = list(dict.fromkeys(asset_ids)), {}
    for batch in in_batches(ids, _PER_QUERY):
        sql = f"SELECT asset_id, row FROM asset WHERE row NOT NULL AND asset_id IN ({marks(batch)})"
        for asset_id, row in db.execute(sql, batch):
            rows[asset_id] = asset_of(asset_id, row)
    return {asset_id: rows[asset_id] for asset_id in ids if asset_id in rows}
