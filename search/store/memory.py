"""The exact reference: everything in memory, every search over all rows.

Good for tests, where it is the oracle of the other stores, and for small one-off searches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter, itemgetter
from threading import RLock
from typing import Any

import numpy as np

from encoder.space import Calibration
from encoder.types import TEXT, Embeddings, Modality
from search.filters import Filter, matches
from search.lexical.index import Text, WordIndex
from search.store.calibrated import Constants, StoredCalibration, products_of, unmeasured
from search.store.checks import checked_asset, checked_queries, checked_segment
from search.types import AssetRow, ScoredSegment, SegmentRow


class MemoryStore:
    """A `VectorStore` that lasts as long as the object. Safe to use from threads."""

    read_only = False

    def __init__(
        self, embed_dim: int, calibration: Mapping[Modality, Calibration] | None = None
    ) -> None:
        self._embed_dim = embed_dim
        self._calibration = unmeasured(calibration or {})
        self._assets: dict[str, AssetRow] = {}
        self._segments: dict[str, SegmentRow] = {}
        self._words: WordIndex | None = None
        self._lock = RLock()

    @property
    def calibration(self) -> Constants:
        """See `VectorStore.calibration`."""
        return self._calibration.constants

    def stored_calibration(self) -> StoredCalibration:
        """See `VectorStore.stored_calibration`."""
        return self._calibration

    def recalibrate(self, constants: Constants, about: Mapping[str, Any]) -> None:
        """Rows are kept as they are, so there is nothing to rewrite."""
        self._calibration = StoredCalibration(constants, (), about)

    def rewrite(self, told: Callable[[int, int], object]) -> int:  # noqa: ARG002
        """Nothing is ever left to do."""
        return 0

    def sizes(self) -> dict[Modality, int]:
        """How many segments there are of each modality that has any."""
        with self._lock:
            return Counter(row.modality for row in self._segments.values())

    def sample(self, modality: Modality, limit: int) -> Embeddings:
        """Unit rows [n, embed_dim] of at most ``limit`` segments, evenly over the store."""
        with self._lock:
            rows = [row for row in self._segments.values() if row.modality == modality]
        rows.sort(key=attrgetter("segment_id"))
        step = max(1, -(-len(rows) // limit))
        kept = [row.embedding for row in rows[::step]]
        return np.stack(kept) if kept else np.empty((0, self._embed_dim), np.float32)

    def check_writable(self) -> None:
        """There is no disk."""

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        """Store segments first, then the assets' commit rows."""
        new_segments = [checked_segment(row, self._embed_dim) for row in segments]
        new_assets = [checked_asset(row) for row in assets]
        with self._lock:
            self._segments.update((row.segment_id, row) for row in new_segments)
            self._assets.update((row.asset_id, row) for row in new_assets)
            if self._words is not None:
                self._words.add(map(_text, new_segments))

    def delete(self, asset_ids: Sequence[str]) -> None:
        """Remove commit rows first, then the segments; unknown ids are ignored."""
        gone = set(asset_ids)
        with self._lock:
            self._assets = {k: v for k, v in self._assets.items() if k not in gone}
            self._segments = {k: v for k, v in self._segments.items() if v.asset_id not in gone}
            if self._words is not None:
                self._words.remove(gone)

    def catch_up(self) -> None:
        """Every read sees everything."""

    def search(
        self,
        queries: Embeddings,
        modality: Modality,
        limit: int,
        *,
        asset_ids: Collection[str] | None = None,
    ) -> list[list[ScoredSegment]]:
        """The nearest segments of one modality for each query, best first; ties by id."""
        queries = checked_queries(queries, self._embed_dim)
        wanted = None if asset_ids is None else set(asset_ids)
        with self._lock:
            rows = [
                row
                for row in self._segments.values()
                if row.modality == modality and (wanted is None or row.asset_id in wanted)
            ]
        if not rows:
            return [[] for _ in queries]
        rows.sort(key=attrgetter("segment_id"))
        cosines = queries @ np.stack([row.embedding for row in rows]).T
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :limit]
        return [
            [_scored(rows[column], float(cosines[i, column])) for column in columns]
            for i, columns in enumerate(order)
        ]

    def search_mixed(
        self,
        query: Embeddings,
        modalities: Collection[Modality],
        limit: int,
        *,
        shift: float = 1.0,
        asset_ids: Collection[str] | None = None,
    ) -> list[ScoredSegment]:
        """The best segments of several modalities, by their calibrated scores; ties by id."""
        ranked: list[tuple[float, str, ScoredSegment]] = []
        for kind in set(modalities):
            found = self.search(query[None], kind, limit, asset_ids=asset_ids)[0]
            cosines = np.array([segment.cosine for segment in found], np.float32)
            scores = products_of(cosines, shift, kind, self.calibration).tolist()
            ranked += [
                (-score, segment.segment_id, segment)
                for score, segment in zip(scores, found, strict=True)
            ]
        ranked.sort(key=itemgetter(0, 1))
        return [segment for _, _, segment in ranked[:limit]]

    def assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        """The commit rows of these ids; those that are not stored are missing."""
        with self._lock:
            return {k: self._assets[k] for k in asset_ids if k in self._assets}

    def assets_at(self, uris: Sequence[str]) -> dict[str, list[AssetRow]]:
        """The commit rows of the assets seen at each of these URIs."""
        with self._lock:
            rows = sorted(self._assets.values(), key=attrgetter("asset_id"))
        found = {uri: [row for row in rows if uri in row.locations] for uri in uris}
        return {uri: rows for uri, rows in found.items() if rows}

    def scan(self, filter: Filter | None = None) -> Iterator[AssetRow]:
        """All commit rows for which a filter holds, streamed in the order of their ids."""
        with self._lock:
            rows = sorted(self._assets.values(), key=attrgetter("asset_id"))
        yield from (row for row in rows if filter is None or matches(filter, row))

    def embeddings(self, asset_id: str) -> list[SegmentRow]:
        """All segments of one asset with their embeddings, by modality and index."""
        with self._lock:
            rows = [row for row in self._segments.values() if row.asset_id == asset_id]
        return sorted(rows, key=attrgetter("modality", "index"))

    def vectors(self, segment_ids: Sequence[str]) -> dict[str, Embeddings]:
        """The embeddings [embed_dim] of these segments; those that are not stored are missing."""
        with self._lock:
            return {k: self._segments[k].embedding for k in segment_ids if k in self._segments}

    def lexical(
        self, text: str, limit: int, *, asset_ids: Collection[str] | None = None
    ) -> list[ScoredSegment]:
        """The segments whose text holds words of ``text``, best first; ``cosine`` is BM25."""
        with self._lock:
            if self._words is None:
                self._words = WordIndex(in_memory=True)
                self._words.add(map(_text, self._segments.values()))
            self._words.commit()
            found = self._words.find(text, limit, asset_ids)
            return [_scored(self._segments[one.segment_id], one.score) for one in found]

    def select(
        self,
        filter: Filter | None,
        *,
        limit: int | None = None,
        after: str = "",
    ) -> Iterator[str]:
        """The ids of all assets for which a filter holds, in their order."""
        return islice((row.asset_id for row in self.scan(filter) if row.asset_id > after), limit)

    def count(self, filter: Filter | None = None) -> int:
        """How many assets there are, or a filter finds."""
        return sum(1 for _ in self.scan(filter))

    def ping(self) -> None:
        """It always answers."""

    def close(self) -> None:
        """Nothing to release."""


def _text(row: SegmentRow) -> Text:
    return Text(row.segment_id, row.asset_id, row.snippet if row.modality == TEXT else "")


def _scored(row: SegmentRow, cosine: float) -> ScoredSegment:
    return ScoredSegment(
        segment_id=row.segment_id,
        asset_id=row.asset_id,
        modality=row.modality,
        cosine=cosine,
        start_s=row.start_s,
        end_s=row.end_s,
        char_start=row.char_start,
        char_end=row.char_end,
        snippet=row.snippet,
    )
