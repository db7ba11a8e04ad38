"""Find segments by vectors and by words."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection as Ids
from collections.abc import Iterable
from operator import itemgetter

import numpy as np

from encoder.space import Calibration
from encoder.types import Embeddings, Modality
from search.errors import IndexNotReadyError
from search.filters import Filter
from search.lexical.index import MAX_FOUND
from search.store.calibrated import Constants, constants_of
from search.store.embedded.ranking import RankedSlots
from search.store.embedded.rows import modality_of, place_of, scored, slot_of
from search.store.embedded.tables import SEGMENT_COLUMNS, DamagedError, IndexTables, marks
from search.store.embedded.texts import KeptIndex
from search.store.embedded.views import Mask, PartView, View, Views
from search.store.several import best_first, score_of, shifted
from search.types import ScoredSegment

_MAX_JOINED = 2000
"""The most assets whose texts are searched by their ids."""
_PLACES_PER_QUERY = 10_000


class IndexSearch:
    """Searches of an index. Safe to use from threads.

    Args:
        tables: the index's.
        views: the views of the tables.
        words: the index of texts.
    """

    def __init__(self, tables: IndexTables, views: Views, words: KeptIndex) -> None:
        self._tables = tables
        self._views = views
        self._words = words

    def of_kind(
        self,
        queries: Embeddings,
        modality: Modality,
        limit: int,
        by: Calibration,
        asset_ids: Ids[str] | None,
        filter: Filter | None,
    ) -> list[list[ScoredSegment]]:
        """The nearest of one modality for each unit row [n, embed_dim], best first; ties by id."""
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
        """The best of several modalities for a unit row, by calibrated scores; ties by id."""
        ranked: list[tuple[float, str, ScoredSegment]] = []
        with self._tables.reading() as db:
            view = self._views.current(db)
            assets = self._views.assets(db, view, asset_ids, filter)
            for modality in modalities:
                by = shifted(constants_of(constants, modality), shift)
                (hits,) = _nearest(db, view, query[None], modality, limit, by, assets)
                ranked += [(-score_of(hit, by), hit.segment_id, hit) for hit in hits]
        ranked.sort(key=itemgetter(0, 1))
        return [segment for _, _, segment in ranked[:limit]]

    def by_words(
        self, text: str, limit: int, asset_ids: Ids[str] | None, filter: Filter | None
    ) -> list[ScoredSegment]:
        """The segments whose text holds words of ``text``, best first; ``cosine`` is BM25.

        If the assets are few, all their texts are searched; otherwise the best 1,000 are checked.

        Raises:
            IndexNotReadyError: many texts have not been read, or files were damaged.
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
            n_words = MAX_FOUND if few_ids is None and assets is not None else min(limit, MAX_FOUND)
            hits = self._words.find(text, n_words, few_ids)
            if hits is None:
                raise IndexNotReadyError(
                    "The words of this store must be read again, so only meaning counted.",
                    "Search again later.",
                )
            scores = {hit.segment_id: hit.score for hit in hits}
            return _with_words(db, scores, assets)[:limit]


def _nearest(
    db: sqlite3.Connection,
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
    db: sqlite3.Connection, view: PartView, modality: Modality, answer: RankedSlots
) -> list[ScoredSegment]:
    rows = {}
    slots = answer.slots.tolist()
    for start in range(0, len(slots), _PLACES_PER_QUERY):
        places = [place_of(view.part, slot) for slot in slots[start : start + _PLACES_PER_QUERY]]
        for at, asset_id, *row in db.execute(
            f"SELECT at, asset_id, {_OF_SEGMENT} FROM segment JOIN asset USING (no) "
            f"WHERE at IN ({marks(places)})",
            places,
        ):
            rows[slot_of(at)] = asset_id, row
    if len(rows) != len(slots):  # each slot that counts has a row
        raise DamagedError("tables.db")
    return [
        scored(rows[slot][1], rows[slot][0], modality, cosine)
        for slot, cosine in zip(slots, answer.cosines.tolist(), strict=True)
    ]


def _with_words(
    db: sqlite3.Connection, scores: dict[str, float], assets: Mask | None
) -> list[ScoredSegment]:
    keys = list(scores)
    hits = [
        scored(row, asset_id, modality_of(modality), scores[row[0]])
        for asset_id, modality, *row in db.execute(
            f"SELECT asset_id, part.modality, {_OF_SEGMENT} FROM segment JOIN asset USING (no) "
            f"JOIN part ON part.part = segment.at >> 40 WHERE key IN ({marks(keys)})",
            keys,
        )
        if assets is None or assets[row[1]]
    ]
    return sorted(hits, key=lambda hit: (-hit.cosine, hit.segment_id))


_OF_SEGMENT = SEGMENT_COLUMNS.replace("key, no", "key, segment.no")
