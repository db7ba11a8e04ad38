"""The exact reference: everything in memory, every search over all rows.

Good for tests, where it is the oracle of the other stores, and for small one-off searches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from operator import attrgetter
from threading import RLock
from typing import Any

import numpy as np

from encoder.space import UNCALIBRATED, Calibration
from encoder.types import TEXT, Embeddings, Modality
from search.filters import Filter, matches
from search.lexical.index import IndexedText, WordIndex
from search.lexical.rarity import Frequencies
from search.store.calibrated import (
    NO_CONSTANTS,
    Calibrations,
    Constants,
    StoredCalibration,
    unmeasured,
)
from search.store.checks import checked_asset, checked_queries, checked_segments
from search.store.lanes import StoredSpace, StoreLanes
from search.store.locks import thread_locks
from search.store.scanning import Scanning
from search.store.several import by_segment, mixed_best_first, one_of_each
from search.types import AssetRow, ScoredSegment, SegmentRow, said_of


class MemoryStore(Scanning):
    """A `VectorStore` that lasts as long as the object. Safe to use from threads.

    Args:
        embed_dim: the size of an embedding.
        calibration: the space's.
        lanes: instead of one space.
    """

    read_only = False
    in_process = True

    def __init__(
        self,
        embed_dim: int = 0,
        calibration: Mapping[Modality, Calibration] | None = None,
        *,
        lanes: StoreLanes | None = None,
    ) -> None:
        super().__init__()
        self.lanes = lanes or StoreLanes(StoredSpace("", embed_dim, calibration or {}))
        self._states = {
            name: unmeasured(space.calibration) for name, space in self.lanes.spaces.items()
        }
        self.calibrations = Calibrations(self.lanes.home.fingerprint, self._states.__getitem__)
        self._assets: dict[str, AssetRow] = {}
        self._segments: dict[str, SegmentRow] = {}
        self._words: WordIndex | None = None
        self._lock = RLock()
        self.locks = thread_locks()

    def recalibrate(self, constants: Constants, origin: Mapping[str, Any], space: str = "") -> None:
        self._states[space or self.lanes.home.fingerprint] = StoredCalibration(constants, origin)
        self.calibrations.forget()

    def sizes(self) -> dict[Modality, int]:
        with self._lock:
            return Counter(row.modality for row in self._segments.values() if not row.row)

    def sample(self, modality: Modality, limit: int) -> Embeddings:
        with self._lock:
            rows = [row for row in self._segments.values() if row.modality == modality]
        n_segments = sum(not row.row for row in rows)
        step = max(1, -(-n_segments // limit))
        return by_segment(rows, self.lanes.space(modality).embed_dim)[::step]

    def check_writable(self) -> None:
        """There is no disk."""

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        new_segments = [
            replace(row, embedding=row.embedding.copy())  # the caller's array may change
            for row in checked_segments(segments, self.lanes)
        ]
        new_assets = [checked_asset(row) for row in assets]
        with self._lock:
            self._segments.update((row.key, row) for row in new_segments)
            self._assets.update((row.asset_id, row) for row in new_assets)
            if self._words is not None:
                self._words.add(map(_text, new_segments))

    def delete(self, asset_ids: Sequence[str]) -> None:
        gone = set(asset_ids)
        with self._lock:
            self._assets = {k: v for k, v in self._assets.items() if k not in gone}
            self.empty(asset_ids)

    def empty(self, asset_ids: Sequence[str]) -> None:
        gone = set(asset_ids)
        with self._lock:
            self._segments = {k: v for k, v in self._segments.items() if v.asset_id not in gone}
            if self._words is not None:
                self._words.remove(gone)

    def catch_up(self) -> None:
        """Every read sees everything."""

    def search(
        self,
        queries: Embeddings,
        modalities: Collection[Modality],
        limit: int,
        *,
        by: Constants = NO_CONSTANTS,
        asset_ids: Collection[str] | None = None,
        filter: Filter | None = None,
    ) -> list[list[ScoredSegment]]:
        asset_filter = self._wanted(asset_ids, filter)
        of_kinds = {
            modality: self._nearest(
                queries, modality, limit, by.get(modality, UNCALIBRATED), asset_filter
            )
            for modality in set(modalities)
        }
        return [
            mixed_best_first([(of_kinds[m][i], by.get(m, UNCALIBRATED)) for m in of_kinds])
            for i in range(len(queries))
        ]

    def _nearest(
        self,
        queries: Embeddings,
        modality: Modality,
        limit: int,
        by: Calibration,
        asset_filter: set[str] | None,
    ) -> list[list[ScoredSegment]]:
        queries = checked_queries(queries, self.lanes.space(modality).embed_dim)
        with self._lock:
            rows = [
                row
                for row in self._segments.values()
                if row.modality == modality
                and (asset_filter is None or row.asset_id in asset_filter)
            ]
        if not rows:
            return [[] for _ in queries]
        rows.sort(key=attrgetter("key"))
        cosines = queries @ np.stack([row.embedding for row in rows]).T
        constants = [by.of_row(row.row) for row in rows]
        levels = np.array([calibration.mu for calibration in constants])
        scales = np.array([calibration.c for calibration in constants])
        order = np.argsort((levels - cosines) / scales, axis=1, kind="stable")
        n_rows = 1 + max(row.row for row in rows)
        return [
            one_of_each(
                _scored(rows[column], float(cosines[i, column]))
                for column in columns[: n_rows * limit]
            )[:limit]
            for i, columns in enumerate(order)
        ]

    def assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        with self._lock:
            return {k: self._assets[k] for k in asset_ids if k in self._assets}

    def assets_at(self, uris: Sequence[str]) -> dict[str, list[AssetRow]]:
        with self._lock:
            rows = sorted(self._assets.values(), key=attrgetter("asset_id"))
        rows_at = {uri: [row for row in rows if uri in row.locations] for uri in uris}
        return {uri: rows for uri, rows in rows_at.items() if rows}

    def scan(self, filter: Filter | None = None) -> Iterator[AssetRow]:
        with self._lock:
            rows = sorted(self._assets.values(), key=attrgetter("asset_id"))
        yield from (row for row in rows if filter is None or matches(filter, row))

    def embeddings(self, asset_id: str) -> list[SegmentRow]:
        with self._lock:
            rows = [row for row in self._segments.values() if row.asset_id == asset_id]
        return sorted(rows, key=attrgetter("modality", "index", "row"))

    def vectors(self, keys: Sequence[str]) -> dict[str, Embeddings]:
        with self._lock:
            return {k: self._segments[k].embedding for k in keys if k in self._segments}

    def lexical(
        self,
        text: str,
        limit: int,
        *,
        asset_ids: Collection[str] | None = None,
        filter: Filter | None = None,
    ) -> list[ScoredSegment]:
        with self._lock:
            hits = self._index().find(text, limit, self._wanted(asset_ids, filter))
            return [_scored(self._segments[hit.segment_id], hit.score) for hit in hits]

    def frequencies(self, index_terms: Collection[str]) -> Frequencies:
        with self._lock:
            return self._index().frequencies(index_terms)

    def _index(self) -> WordIndex:
        if self._words is None:
            self._words = WordIndex()
            self._words.add(map(_text, self._segments.values()))
        self._words.commit()
        return self._words

    def _wanted(self, asset_ids: Collection[str] | None, filter: Filter | None) -> set[str] | None:
        asset_filter = None if asset_ids is None else set(asset_ids)
        if filter is None:
            return asset_filter
        matching = {row.asset_id for row in self.scan(filter)}
        return matching if asset_filter is None else matching & asset_filter

    def select(
        self,
        filter: Filter | None,
        *,
        limit: int | None = None,
        after: str = "",
    ) -> Iterator[str]:
        return islice((row.asset_id for row in self.scan(filter) if row.asset_id > after), limit)

    def count(self, filter: Filter | None = None) -> int:
        return sum(1 for _ in self.scan(filter))

    def ping(self) -> None:
        """It always answers."""

    def close(self) -> None:
        """Nothing to release."""


def _text(row: SegmentRow) -> IndexedText:
    is_text = row.modality == TEXT and not row.row
    return IndexedText(row.key, row.asset_id, row.snippet if is_text else "")


def _scored(row: SegmentRow, cosine: float) -> ScoredSegment:
    return ScoredSegment(row.segment_id, row.asset_id, row.modality, cosine, *said_of(row))
