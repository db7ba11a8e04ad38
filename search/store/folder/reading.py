"""Read commit rows, and segments with their vectors; find segments by vectors and by words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection as Ids
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from encoder.space import Calibration
from encoder.system.batched import in_batches
from encoder.types import TEXT, Embeddings, Modality
from search.filters import Filter
from search.lexical.index import MAX_FOUND
from search.store.calibrated import Constants, constants_of
from search.store.folder import overview as in_tables
from search.store.folder.database import (
    SEGMENT_COLUMNS,
    Connection,
    DamagedError,
    Database,
    LaneNumbers,
    asset_of,
    marks,
    part_of,
    place_of,
    scored,
    segment_of,
    slot_of,
    version_of,
)
from search.store.folder.vector_files import RankedSlots
from search.store.folder.views import Mask, PartView, View, Views
from search.store.folder.words import KeptIndex
from search.store.lanes import StoreLanes
from search.store.overview import Dated, Facets, Order
from search.store.schema import NUMBERS, TEXTS
from search.store.several import best_first, by_segment, mixed_best_first, shifted
from search.types import AssetRow, ScoredSegment, SegmentRow

_PER_QUERY = 1000
_MAX_SORTED = 20_000
"""Up to this many matches have their ids sorted; for more, all ids are read in order."""
_KEPT_FACETS = 16
_MAX_JOINED = 2000
"""The most assets whose texts are searched by their ids."""
_PLACES_PER_QUERY = 10_000
_OF_SEGMENT = SEGMENT_COLUMNS.replace("key, no", "key, segment.no")
_OF_HIT = f"key, asset_id, {', '.join((*NUMBERS, *TEXTS))}, idx >> 40"
_SEGMENTS = (
    f"SELECT at, asset_id, lane, {_OF_SEGMENT} FROM segment JOIN asset USING (no) "
    "JOIN part ON part.part = segment.at >> 40"
)


class Reading:
    """Answers from the files of a folder. Safe to use from threads."""

    def __init__(self, tables: Database, views: Views, words: KeptIndex, lanes: StoreLanes) -> None:
        self._tables = tables
        self._views = views
        self._words = words
        self._lanes = lanes
        self._facets: dict[tuple[int, str], Facets] = {}

    def sizes(self) -> dict[Modality, int]:
        sql = "SELECT lane, sum(n_live) FROM part WHERE number = 0 AND n_live > 0 GROUP BY lane"
        with self._tables.reading() as db:
            searched = self._numbers(db).searched
            return {searched[lane]: n for lane, n in db.execute(sql) if lane in searched}

    def _numbers(self, db: Connection) -> LaneNumbers:
        return LaneNumbers(db, self._lanes)

    def sample(self, modality: Modality, limit: int) -> Embeddings:
        with self._tables.reading() as db:
            lane = max(self._numbers(db).numbers([modality]), default=0)
            sql = "SELECT sum(n_live) FROM part WHERE lane = ? AND number = 0"
            n_live = db.execute(sql, (lane,)).fetchone()[0] or 0
            step = max(1, -(-n_live // max(limit, 1)))
            keys = db.execute(
                "SELECT key FROM (SELECT key, row_number() OVER (ORDER BY key) AS n FROM segment "
                "JOIN part ON part.part = segment.at >> 40 WHERE lane = ? AND number = 0) "
                "WHERE (n - 1) % ? = 0",
                (lane, step),
            ).fetchall()
            rows = self._rows(db, "key", self._every_row(db, lane, [key for (key,) in keys]))
        return by_segment(rows, self._lanes.space(modality).embed_dim)[:limit]

    def _every_row(self, db: Connection, lane: int, keys: Sequence[str]) -> list[str]:
        sql = "SELECT DISTINCT number FROM part WHERE lane = ? AND number > 0"
        numbers = [number for (number,) in db.execute(sql, (lane,))]
        return [*keys, *(f"{key}#{number}" for number in numbers for key in keys)]

    def embeddings(self, asset_id: str) -> list[SegmentRow]:
        with self._tables.reading() as db:
            nos = db.execute("SELECT no FROM asset WHERE asset_id = ?", (asset_id,)).fetchall()
            rows = self._rows(db, "segment.no", [no for (no,) in nos])
        return sorted(rows, key=lambda row: (row.modality, row.index, row.row))

    def counted(self, asset_ids: Sequence[str]) -> dict[str, Counter[Modality]]:
        counts = defaultdict[str, Counter[Modality]](Counter)
        sql = (  # "+" drops the column's type: with it, SQLite would not use segment's index
            "SELECT asset_id, lane, count(*) "
            "FROM asset JOIN segment ON segment.no = +asset.no "
            "JOIN part ON part.part = segment.at >> 40 AND number = 0 "
            "WHERE asset_id IN ({}) GROUP BY asset_id, lane"
        )
        with self._tables.reading() as db:
            searched = self._numbers(db).searched
            for ids in in_batches(list(dict.fromkeys(asset_ids)), _PER_QUERY):
                for asset_id, lane, n in db.execute(sql.format(marks(ids)), ids):
                    if lane in searched:
                        counts[asset_id][searched[lane]] = n
        return counts

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
            "WHERE at > ? AND lane = ? AND number = 0 ORDER BY at LIMIT ?"
        )
        while True:
            with self._tables.reading() as db:
                lane = max(self._numbers(db).numbers([TEXT]), default=0)
                rows = db.execute(sql, (after, lane, _PER_QUERY)).fetchall()
            yield from ((key, text) for _, key, text in rows)
            if not rows:
                return
            after = rows[-1][0]

    def vectors(self, keys: Sequence[str]) -> dict[str, Embeddings]:
        with self._tables.reading() as db:
            return {row.key: row.embedding for row in self._rows(db, "key", keys)}

    def _rows(self, db: Connection, column: str, values: Sequence[object]) -> list[SegmentRow]:
        parts, searched = self._views.current(db).parts, self._numbers(db).searched
        segments: list[SegmentRow] = []
        for batch in in_batches(values, _PER_QUERY):
            sql = f"{_SEGMENTS} WHERE {column} IN ({marks(batch)})"
            rows = [row for row in db.execute(sql, batch) if row[2] in searched]
            slots: dict[int, list[int]] = {}
            for row in rows:
                slots.setdefault(part_of(row[0]), []).append(slot_of(row[0]))
            vectors = {
                (part_no, slot): vector
                for part_no, of in slots.items()
                for slot, vector in zip(of, parts[part_no].files.rows(np.array(of)), strict=True)
            }
            segments += [
                segment_of(columns, asset_id, searched[lane], vectors[part_of(at), slot_of(at)])
                for at, asset_id, lane, *columns in rows
            ]
        return segments

    def assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        with self._tables.reading() as db:
            return _assets(db, self._numbers(db), asset_ids)

    def assets_at(self, uris: Sequence[str]) -> dict[str, list[AssetRow]]:
        rows_at: dict[str, list[AssetRow]] = {}
        unique_uris = list(dict.fromkeys(uris))
        with self._tables.reading() as db:
            lanes = self._numbers(db)
            for batch in in_batches(unique_uris, _PER_QUERY):
                sql = (
                    "SELECT uri, asset_id, row FROM location JOIN asset USING (no) "
                    f"WHERE uri IN ({marks(batch)}) ORDER BY asset_id"
                )
                for uri, asset_id, row in db.execute(sql, batch):
                    rows_at.setdefault(uri, []).append(asset_of(asset_id, row, lanes))
        return {uri: rows_at[uri] for uri in unique_uris if uri in rows_at}

    def count(self, filter: Filter | None) -> int:
        with self._tables.reading() as db:
            if filter is None:
                sql = "SELECT count(*) FROM asset WHERE row IS NOT NULL"
                return int(db.execute(sql).fetchone()[0])
            mask = self._mask(db, filter)
            return 0 if mask is None else int(np.count_nonzero(mask))

    def _mask(self, db: Connection, filter: Filter | None) -> Mask | None:
        """The assets for which a filter holds; None for all, which no vector is needed for."""
        if filter is None:
            return None
        return self._views.assets(db, self._views.current(db), None, filter)

    def facets(self, filter: Filter | None) -> Facets:
        """Cached until something is written."""
        with self._tables.reading() as db:
            cache_key = version_of(db), repr(filter)
            counts = self._facets.get(cache_key)
            if counts is None:
                counts = in_tables.facets(db, self._nos(db, filter))
                if len(self._facets) >= _KEPT_FACETS:
                    self._facets.clear()
                self._facets[cache_key] = counts
            return counts

    def newest(
        self,
        filter: Filter | None,
        limit: int,
        after: Dated,
        reverse: bool = False,
        by: Order = "date",
    ) -> list[Dated]:
        with self._tables.reading() as db:
            return in_tables.newest(db, self._nos(db, filter), limit, after, reverse, by)

    def _nos(self, db: Connection, filter: Filter | None) -> list[int] | None:
        """The numbers of the assets for which a filter holds; None for all."""
        mask = self._mask(db, filter)
        return None if mask is None else np.flatnonzero(mask).tolist()

    def select(self, filter: Filter | None, limit: int | None, after: str) -> Iterator[str]:
        return islice(self._selected(filter, after, limit), limit)

    def _selected(self, filter: Filter | None, after: str, limit: int | None) -> Iterator[str]:
        size = min(limit or _PER_QUERY, _PER_QUERY)
        while True:
            with self._tables.reading() as db:
                mask = self._mask(db, filter)
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
        ids = self._selected(filter, "", None)
        for some in in_batches(ids, _PER_QUERY):
            yield from self.assets(some).values()

    def of_kind(
        self,
        queries: Embeddings,
        modality: Modality,
        limit: int,
        by: Calibration,
        asset_ids: Ids[str] | None,
        filter: Filter | None,
    ) -> list[list[ScoredSegment]]:
        with self._tables.reading() as db:
            view = self._views.current(db)
            assets = self._views.assets(db, view, asset_ids, filter)
            return _nearest(db, view, queries, modality, limit, by, assets)

    def mixed(
        self,
        query: Embeddings,
        constants: Constants,
        modalities: Iterable[Modality],
        limit: int,
        shift: float,
        asset_ids: Ids[str] | None,
        filter: Filter | None,
    ) -> list[ScoredSegment]:
        of_modalities = []
        with self._tables.reading() as db:
            view = self._views.current(db)
            assets = self._views.assets(db, view, asset_ids, filter)
            for modality in modalities:
                by = shifted(constants_of(constants, modality), shift)
                (hits,) = _nearest(db, view, query[None], modality, limit, by, assets)
                of_modalities.append((hits, by))
        return mixed_best_first(of_modalities)

    def by_words(
        self, text: str, limit: int, asset_ids: Ids[str] | None, filter: Filter | None
    ) -> list[ScoredSegment]:
        """The segments whose text holds words of ``text``, best first; ``cosine`` is BM25.

        If the assets are few, all their texts are searched; otherwise the best 1,000 are checked.
        """
        self._words.refresh()
        with self._tables.reading() as db:
            view = self._views.current(db)
            assets = self._views.assets(db, view, asset_ids, filter)
            few_ids = None
            if assets is not None and (n := np.count_nonzero(assets)) <= _MAX_JOINED:
                if not n:
                    return []
                nos = np.flatnonzero(assets).tolist()
                rows = db.execute(f"SELECT asset_id FROM asset WHERE no IN ({marks(nos)})", nos)
                few_ids = [asset_id for (asset_id,) in rows]
            wanted = assets if few_ids is None else None
            hits = self._words.find(text, min(limit, MAX_FOUND), few_ids, wanted)
            scores = {hit.segment_id: hit.score for hit in hits}
            return _with_words(db, self._numbers(db), scores, assets)[:limit]


def _assets(db: Connection, lanes: LaneNumbers, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
    ids, rows = list(dict.fromkeys(asset_ids)), {}
    for batch in in_batches(ids, _PER_QUERY):
        sql = f"SELECT asset_id, row FROM asset WHERE row NOT NULL AND asset_id IN ({marks(batch)})"
        for asset_id, row in db.execute(sql, batch):
            rows[asset_id] = asset_of(asset_id, row, lanes)
    return {asset_id: rows[asset_id] for asset_id in ids if asset_id in rows}


def _nearest(
    db: Connection,
    view: View,
    queries: Embeddings,
    modality: Modality,
    limit: int,
    by: Calibration,
    assets: Mask | None,
) -> list[list[ScoredSegment]]:
    hits: list[list[ScoredSegment]] = [[] for _ in queries]
    for part in view.of(modality) if limit > 0 else ():
        if part.n_slots:
            answers = part.files.nearest(queries, limit, part.n_slots, part.wanted(assets))
            for of_query, answer in zip(hits, answers, strict=True):
                of_query += _rows_of(db, part, modality, answer)
    return [best_first(of_query, by)[:limit] for of_query in hits]


def _rows_of(
    db: Connection, view: PartView, modality: Modality, answer: RankedSlots
) -> list[ScoredSegment]:
    hits = list[ScoredSegment]()
    of_places = (answer.slots + place_of(view.part, 0)).tolist()
    cosines = dict(zip(of_places, answer.cosines.tolist(), strict=True))
    for places in in_batches(of_places, _PLACES_PER_QUERY):
        for at, *columns in db.execute(
            f"SELECT at, {_OF_HIT} FROM segment JOIN asset USING (no) "
            f"WHERE at IN ({marks(places)})",
            places,
        ):
            hits.append(scored(columns, modality, cosines[at]))
    if len(hits) != len(of_places):  # each slot that counts has a row
        raise DamagedError("rows of segments are missing")
    return hits


def _with_words(
    db: Connection, lanes: LaneNumbers, scores: dict[str, float], assets: Mask | None
) -> list[ScoredSegment]:
    keys = list(scores)
    hits = [
        scored(columns, lanes.searched[lane], scores[columns[0]])
        for no, lane, *columns in db.execute(
            f"SELECT segment.no, lane, {_OF_HIT} FROM segment JOIN asset USING (no) "
            f"JOIN part ON part.part = segment.at >> 40 WHERE key IN ({marks(keys)})",
            keys,
        )
        if lane in lanes.searched and (assets is None or assets[no])
    ]
    return sorted(hits, key=lambda hit: (-hit.cosine, hit.segment_id))
