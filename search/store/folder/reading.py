"""Read commit rows, and segments with their vectors; find segments by vectors and by words."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Collection as Ids
from functools import wraps
from itertools import islice
from typing import ParamSpec, TypeVar

import numpy as np

from encoder.space import UNCALIBRATED, Calibration
from encoder.system.batched import in_batches
from encoder.types import Embeddings, Modality
from search.errors import IndexNotReadyError
from search.filters import Filter
from search.lexical.index import MAX_FOUND, FoundText
from search.lexical.rarity import Frequencies
from search.store import calibrated
from search.store.calibrated import NO_CONSTANTS, Constants, StoredCalibration
from search.store.checks import checked_queries
from search.store.folder import overview as in_tables
from search.store.folder.database import (
    SEGMENT_COLUMNS,
    Connection,
    DamagedError,
    Database,
    GivenUpError,
    LaneNumbers,
    among,
    asset_of,
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
from search.store.lanes import StoredSpace, StoreLanes
from search.store.overview import Dated, Facets, Order
from search.store.several import best_first, by_segment, key_of, mixed_best_first, stored_key
from search.types import SAID, AssetRow, ScoredSegment, SegmentRow, row_key

P = ParamSpec("P")
T = TypeVar("T")

_PER_QUERY = 1000
_MAX_SORTED = 20_000
"""Up to this many matches have their ids sorted; for more, all ids are read in order."""
_KEPT_FACETS = 16
_MAX_JOINED = 2000
"""The most assets whose texts are searched by their ids."""
_OF_SEGMENT = SEGMENT_COLUMNS.replace("key, no", "key, segment.no")
_OF_HIT = f"key, asset_id, {', '.join(SAID[:-1])}, idx >> 40"
_SEGMENTS = (
    f"SELECT at, asset_id, lane, {_OF_SEGMENT} FROM segment JOIN asset USING (no) "
    "JOIN part ON part.part = segment.at >> 40"
)


def noted_lanes(database: Database, lanes: StoreLanes) -> tuple[StoreLanes, bool]:
    """The lanes with what is noted of their spaces, and whether all of these are noted.

    Raises:
        SpaceMismatchError, ModelError: a space is not the one that was noted by its name.
    """
    with database.tolerating(), database.reading() as db:
        rows = db.execute("SELECT space, embed_dim, probes FROM space").fetchall()
    noted = {space: (embed_dim, json.loads(probes)) for space, embed_dim, probes in rows}

    def as_noted(space: StoredSpace) -> StoredSpace:
        return space.as_noted(noted.get(space.fingerprint), database.shown)

    return lanes.resolved(as_noted), lanes.spaces.keys() <= noted.keys()


def noted_calibration(database: Database, space: StoredSpace) -> StoredCalibration:
    sql = "SELECT calibration FROM space WHERE space = ?"
    with database.reading() as db:
        row = db.execute(sql, (space.fingerprint,)).fetchone()
    return calibrated.read(row[0]) if row else calibrated.unmeasured(space.calibration)


def _repeated(read: Callable[P, T]) -> Callable[P, T]:
    """Ask again if files of rows were given up meanwhile."""

    @wraps(read)
    def repeat(*args: P.args, **options: P.kwargs) -> T:
        try:
            return read(*args, **options)
        except GivenUpError:
            return read(*args, **options)

    return repeat


class Reading:
    """Answers from the files of a folder, which is open. Safe to use from threads."""

    has_overview = True
    lanes: StoreLanes
    _views: Views
    _words: KeptIndex
    _names: KeptIndex

    def __init__(self) -> None:
        self._database: Database | None = None
        self._facets: dict[tuple[int, str], Facets] = {}

    @property
    def _db(self) -> Database:
        assert self._database is not None
        return self._database

    def sizes(self) -> dict[Modality, int]:
        sql = "SELECT lane, sum(n_live) FROM part WHERE number = 0 AND n_live > 0 GROUP BY lane"
        with self._db.reading() as db:
            searched = LaneNumbers(db, self.lanes).searched
            return {searched[lane]: n for lane, n in db.execute(sql) if lane in searched}

    @_repeated
    def sample(self, modality: Modality, limit: int) -> Embeddings:
        with self._db.reading() as db:
            lane = max(LaneNumbers(db, self.lanes).numbers([modality]), default=0)
            sql = "SELECT sum(n_live) FROM part WHERE lane = ? AND number = 0"
            n_live = db.execute(sql, (lane,)).fetchone()[0] or 0
            step = max(1, -(-n_live // max(limit, 1)))
            keys = db.execute(
                "SELECT key FROM (SELECT key, row_number() OVER (ORDER BY key) AS n FROM segment "
                "JOIN part ON part.part = segment.at >> 40 WHERE lane = ? AND number = 0) "
                "WHERE (n - 1) % ? = 0",
                (lane, step),
            ).fetchall()
            sql = "SELECT DISTINCT number FROM part WHERE lane = ?"
            numbers = [number for (number,) in db.execute(sql, (lane,))]
            ids = [key_of(key) for (key,) in keys]
            every = [stored_key(row_key(key, number)) for number in numbers for key in ids]
            rows = self._rows(db, "key", every)
        return by_segment(rows, self.lanes.space(modality).embed_dim)[:limit]

    @_repeated
    def embeddings(self, asset_id: str) -> list[SegmentRow]:
        with self._db.reading() as db:
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
        with self._db.reading() as db:
            searched = LaneNumbers(db, self.lanes).searched
            for asset_id, lane, n in among(db, sql, dict.fromkeys(asset_ids)):
                if lane in searched:
                    counts[asset_id][searched[lane]] = n
        return counts

    @_repeated
    def vectors(self, keys: Sequence[str]) -> dict[str, Embeddings]:
        with self._db.reading() as db:
            rows = self._rows(db, "key", [*map(stored_key, keys)])
            return {row.key: row.embedding for row in rows}

    def _rows(self, db: Connection, column: str, values: Sequence[object]) -> list[SegmentRow]:
        parts, searched = self._views.current(db).parts, LaneNumbers(db, self.lanes).searched
        stored = among(db, f"{_SEGMENTS} WHERE {column} IN ({{}})", values)
        rows = [row for row in stored if row[2] in searched]
        slots: dict[int, list[int]] = {}
        for row in rows:
            slots.setdefault(part_of(row[0]), []).append(slot_of(row[0]))
        vectors = {
            (part_no, slot): vector
            for part_no, of in slots.items()
            for slot, vector in zip(of, parts[part_no].files.rows(np.array(of)), strict=True)
        }
        return [
            segment_of(columns, asset_id, searched[lane], vectors[part_of(at), slot_of(at)])
            for at, asset_id, lane, *columns in rows
        ]

    def assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        ids = list(dict.fromkeys(asset_ids))
        sql = "SELECT asset_id, row FROM asset WHERE row NOT NULL AND asset_id IN ({})"
        with self._db.reading() as db:
            lanes = LaneNumbers(db, self.lanes)
            rows = {key: asset_of(key, row, lanes) for key, row in among(db, sql, ids)}
        return {asset_id: rows[asset_id] for asset_id in ids if asset_id in rows}

    def assets_at(self, uris: Sequence[str]) -> dict[str, list[AssetRow]]:
        rows_at: dict[str, list[AssetRow]] = {}
        unique_uris = list(dict.fromkeys(uris))
        sql = (
            "SELECT uri, asset_id, row FROM location JOIN asset USING (no) "
            "WHERE uri IN ({}) ORDER BY asset_id"
        )
        with self._db.reading() as db:
            lanes = LaneNumbers(db, self.lanes)
            for uri, asset_id, row in among(db, sql, unique_uris):
                rows_at.setdefault(uri, []).append(asset_of(asset_id, row, lanes))
        return {uri: rows_at[uri] for uri in unique_uris if uri in rows_at}

    def count(self, filter: Filter | None = None) -> int:
        with self._db.reading() as db:
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
        with self._db.reading() as db:
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
        with self._db.reading() as db:
            return in_tables.newest(db, self._nos(db, filter), limit, after, reverse, by)

    def _nos(self, db: Connection, filter: Filter | None) -> list[int] | None:
        """The numbers of the assets for which a filter holds; None for all."""
        mask = self._mask(db, filter)
        return None if mask is None else np.flatnonzero(mask).tolist()

    def select(
        self, filter: Filter | None, *, limit: int | None = None, after: str = ""
    ) -> Iterator[str]:
        return islice(self._selected(filter, after, limit), limit)

    def _selected(self, filter: Filter | None, after: str, limit: int | None) -> Iterator[str]:
        size = min(limit or _PER_QUERY, _PER_QUERY)
        while True:
            with self._db.reading() as db:
                mask = self._mask(db, filter)
                if mask is not None and np.count_nonzero(mask) <= _MAX_SORTED:
                    page = sorted(key for key in _ids(db, mask) if key > after)
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

    def scan(self, filter: Filter | None = None) -> Iterator[AssetRow]:
        ids = self._selected(filter, "", None)
        for some in in_batches(ids, _PER_QUERY):
            yield from self.assets(some).values()

    @_repeated
    def search(
        self,
        queries: Embeddings,
        modalities: Ids[Modality],
        limit: int,
        *,
        by: Constants = NO_CONSTANTS,
        asset_ids: Ids[str] | None = None,
        filter: Filter | None = None,
    ) -> list[list[ScoredSegment]]:
        kinds = sorted(set(modalities))
        if not kinds:
            return [[] for _ in queries]
        queries = checked_queries(queries, self.lanes.space(kinds[0]).embed_dim)
        constants = [by.get(modality, UNCALIBRATED) for modality in kinds]
        with self._db.reading() as db:
            view = self._views.current(db)
            assets = self._views.assets(db, view, asset_ids, filter)
            of_kinds = [
                _nearest(db, view, queries, modality, limit, by=of_kind, assets=assets)
                for modality, of_kind in zip(kinds, constants, strict=True)
            ]
        return [
            mixed_best_first(list(zip(of_query, constants, strict=True)))
            for of_query in zip(*of_kinds, strict=True)
        ]

    @_repeated
    def lexical(
        self,
        text: str,
        limit: int,
        *,
        asset_ids: Ids[str] | None = None,
        filter: Filter | None = None,
    ) -> list[ScoredSegment]:
        """If the assets are few, all their texts are searched; else the best 1,000 are checked."""
        try:
            self._words.refresh()
        except IndexNotReadyError as error:
            if self._words.is_there:
                error.hits = self._by_known_words(text, limit, asset_ids, filter)
            raise
        return self._by_known_words(text, limit, asset_ids, filter)

    def _by_known_words(
        self, text: str, limit: int, asset_ids: Ids[str] | None, filter: Filter | None
    ) -> list[ScoredSegment]:
        with self._db.reading() as db:
            view = self._views.current(db)
            assets = self._views.assets(db, view, asset_ids, filter)
            few_ids = None
            if assets is not None and (n := np.count_nonzero(assets)) <= _MAX_JOINED:
                if not n:
                    return []
                few_ids = _ids(db, assets)
            asset_mask = assets if few_ids is None else None
            hits = self._words.find(text, min(limit, MAX_FOUND), few_ids, asset_mask)
            scores = {stored_key(hit.segment_id): hit.score for hit in hits}
            return _with_words(db, LaneNumbers(db, self.lanes), scores, assets)[:limit]

    def frequencies(self, index_terms: Ids[str]) -> Frequencies:
        return self._words.frequencies(index_terms)

    def read_names(self, is_unwanted: Callable[[], bool]) -> None:  # noqa: ARG002
        self._names.refresh()

    def named(self, text: str, limit: int) -> Sequence[FoundText]:
        return self._names.find(text, limit)[:limit]


def _ids(db: Connection, assets: Mask) -> list[str]:
    sql = "SELECT asset_id FROM asset WHERE no IN ({})"
    return [asset_id for (asset_id,) in among(db, sql, np.flatnonzero(assets).tolist())]


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
    places = (answer.slots + place_of(view.part, 0)).tolist()
    cosines = dict(zip(places, answer.cosines.tolist(), strict=True))
    sql = f"SELECT at, {_OF_HIT} FROM segment JOIN asset USING (no) WHERE at IN ({{}})"
    rows = among(db, sql, places)
    hits = [scored(columns, modality, cosines[at]) for at, *columns in rows]
    if len(hits) != len(places):  # each slot that counts has a row
        raise DamagedError("rows of segments are missing")
    return hits


def _with_words(
    db: Connection, lanes: LaneNumbers, scores: dict[bytes | str, float], assets: Mask | None
) -> list[ScoredSegment]:
    sql = (
        f"SELECT segment.no, lane, {_OF_HIT} FROM segment JOIN asset USING (no) "
        "JOIN part ON part.part = segment.at >> 40 WHERE key IN ({})"
    )
    hits = [
        scored(columns, lanes.searched[lane], scores[columns[0]])
        for no, lane, *columns in among(db, sql, scores)
        if lane in lanes.searched and (assets is None or assets[no])
    ]
    return sorted(hits, key=lambda hit: (-hit.cosine, hit.segment_id))
