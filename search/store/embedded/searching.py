"""Find segments by vectors and by words."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection as Ids
from collections.abc import Iterable, Sequence
from operator import itemgetter

import numpy as np

from encoder.space import Calibration
from encoder.types import Embeddings, Modality
from search.filters import Filter
from search.lexical.index import MAX_FOUND
from search.store.calibrated import Constants, constants_of
from search.store.embedded.rows import modality_of, place_of, scored, slot_of
from search.store.embedded.tables import SEGMENT_COLUMNS, DamagedError, Tables, marks
from search.store.embedded.texts.words import KeptWords
from search.store.embedded.vectors.ranking import Found
from search.store.embedded.views import Mask, PartView, View, Views
from search.store.several import best_first, score_of, shifted
from search.types import ScoredSegment

_MAX_JOINED = 2000
"""The most assets whose texts are searched by their ids."""
_PLACES_PER_QUERY = 10_000


class Searching:
    """Searches of an index. Safe to use from threads.

    Args:
        tables: the index's.
        views: the views of the tables.
        words: the index of texts.
    """

    def __init__(self, tables: Tables, views: Views, words: KeptWords) -> None:
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
            for kind in modalities:
                by = shifted(constants_of(constants, kind), shift)
                (found,) = _nearest(db, view, query[None], kind, limit, by, assets)
                ranked += [(-score_of(one, by), one.segment_id, one) for one in found]
        ranked.sort(key=itemgetter(0, 1))
        return [segment for _, _, segment in ranked[:limit]]

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
            few = None
            if assets is not None and (n := np.count_nonzero(assets)) <= _MAX_JOINED:
                if not n:
                    return []
                few = list(_ids_of(db, np.flatnonzero(assets).tolist()).values())
            most = MAX_FOUND if few is None and assets is not None else min(limit, MAX_FOUND)
            scores = self._words.find(text, most, few)
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
    found: list[list[ScoredSegment]] = [[] for _ in queries]
    for part in view.of(modality):
        if part.n_slots and limit > 0:
            answers = part.files.nearest(queries, limit, part.n_slots, part.wanted(assets))
            for of_query, answer in zip(found, answers, strict=True):
                of_query += _rows_of(db, part, modality, answer)
    return [best_first(of_query, by)[:limit] for of_query in found]


def _rows_of(
    db: sqlite3.Connection, part: PartView, modality: Modality, found: Found
) -> list[ScoredSegment]:
    rows = {}
    slots = found.slots.tolist()
    for start in range(0, len(slots), _PLACES_PER_QUERY):
        places = [place_of(part.part, slot) for slot in slots[start : start + _PLACES_PER_QUERY]]
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
        for slot, cosine in zip(slots, found.cosines.tolist(), strict=True)
    ]


def _ids_of(db: sqlite3.Connection, nos: Sequence[int]) -> dict[int, str]:
    sql = f"SELECT no, asset_id FROM asset WHERE no IN ({marks(nos)})"
    return dict(db.execute(sql, nos).fetchall())


def _with_words(
    db: sqlite3.Connection, scores: dict[str, float], assets: Mask | None
) -> list[ScoredSegment]:
    keys = list(scores)
    found = [
        scored(row, asset_id, modality_of(modality), scores[row[0]])
        for asset_id, modality, *row in db.execute(
            f"SELECT asset_id, part.modality, {_OF_SEGMENT} FROM segment JOIN asset USING (no) "
            f"JOIN part ON part.part = segment.at >> 40 WHERE key IN ({marks(keys)})",
            keys,
        )
        if assets is None or assets[row[1]]
    ]
    return sorted(found, key=lambda hit: (-hit.cosine, hit.segment_id))


_OF_SEGMENT = SEGMENT_COLUMNS.replace("key, no", "key, segment.no")
