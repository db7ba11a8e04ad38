"""Finds words in what a store holds: by BM25 in Milvus, or by an index in this process."""

from __future__ import annotations

import time
from collections.abc import Collection as Ids
from collections.abc import Iterator, Sequence
from threading import Lock, Thread
from typing import Protocol

from encoder.types import TEXT
from search.errors import StoreError
from search.filters.expressions import among
from search.lexical import WordIndex, words
from search.lexical.index import Text
from search.store.checks import words_of
from search.store.milvus_link import MilvusLink
from search.store.milvus_rows import MilvusRows, among_assets, chunks
from search.store.schema import ASSETS, WORDS, Collection
from search.types import SegmentRow

Found = list[tuple[str, float]]

REFRESH_S = 5.0
FULL_REFRESH_S = 60.0
_SLOWDOWN = 20
_ASSETS_PER_READ = 200


class Words(Protocol):
    """Segments with text, found by words."""

    def added(self, segments: Sequence[SegmentRow]) -> None:
        """These segments were stored."""
        ...

    def removed(self, asset_ids: Sequence[str]) -> None:
        """These assets were deleted."""
        ...

    def find(self, text: str, limit: int, asset_ids: Ids[str] | None) -> Found:
        """Ids of segments with their BM25, best first; some may be gone, or hold other words."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class MilvusWords:
    """BM25 by Milvus's own function, over words that are made here: all stores find the same."""

    def __init__(self, link: MilvusLink, rows: MilvusRows) -> None:
        self._link = link
        self._rows = rows

    def added(self, segments: Sequence[SegmentRow]) -> None:
        """Store the words of texts."""
        texts = [row for row in segments if row.modality == TEXT and row.snippet]
        rows = [
            {
                "segment_id": row.segment_id,
                "asset_id": row.asset_id,
                "words": words_of(row.snippet),
            }
            for row in texts
        ]
        if rows:
            self._rows.upsert(WORDS, rows)
            self._rows.flush(WORDS)

    def removed(self, asset_ids: Sequence[str]) -> None:
        """Remove the words of these assets."""
        self._rows.delete([WORDS], asset_ids)

    def find(self, text: str, limit: int, asset_ids: Ids[str] | None) -> Found:
        """Ids of segments with their BM25, best first."""
        found: Found = []
        asked = " ".join(dict.fromkeys(words(text)))
        for expression in among_assets(asset_ids) if asked else ():
            (answer,) = self._link.call(
                "search",
                self._rows.name(WORDS),
                data=[asked],
                anns_field=WORDS.vector,
                filter=expression,
                limit=limit,
                output_fields=[WORDS.key],
                search_params={"metric_type": "BM25", "params": {}},
                **self._rows.fresh(),
            )
            # Milvus Lite gives them as distances, which are negative.
            found += [(hit["entity"][WORDS.key], abs(float(hit["distance"]))) for hit in answer]
        return sorted(found, key=lambda hit: (-hit[1], hit[0]))[:limit]

    def close(self) -> None:
        """Nothing to release."""


class MirroredWords:
    """An index in this process over a server's texts, for servers without BM25.

    What this store object writes and deletes is found, or not, at once. What others write is found
    after `REFRESH_S` and the time that reading it takes, or later if only looking takes long: at
    most a twentieth of the time is spent on that. It is built at the first search, and lies in
    files; in memory are the ids of the assets.
    """

    def __init__(self, rows: MilvusRows, segments: Collection) -> None:
        self._rows = rows
        self._segments = segments
        self._lock = Lock()
        self._index: WordIndex | None = None
        self._known: set[str] = set()
        self._own: set[str] = set()
        self._next_s = 0.0
        self._next_full_s = 0.0
        self._thread: Thread | None = None

    def added(self, segments: Sequence[SegmentRow]) -> None:
        """Index texts that this store object wrote."""
        if self._index is not None:
            texts = [
                Text(s.segment_id, s.asset_id, s.snippet) for s in segments if s.modality == TEXT
            ]
            self._own.update(text.asset_id for text in texts)
            self._index.add(texts)

    def removed(self, asset_ids: Sequence[str]) -> None:
        """Forget the texts of assets that this store object deleted."""
        if self._index is not None:
            self._index.remove(asset_ids)

    def find(self, text: str, limit: int, asset_ids: Ids[str] | None) -> Found:
        """Ids of segments with their BM25, best first."""
        return self._refreshed().find(text, limit, asset_ids)

    def close(self) -> None:
        """Remove the index."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        index, self._index = self._index, None
        if index is not None:
            index.close()

    def _refreshed(self) -> WordIndex:
        """The index; brought up to date in a thread if it is time, since searches do not wait."""
        with self._lock:
            if self._index is None:
                index = WordIndex()
                self._refresh(index)
                self._index = index
            elif time.monotonic() >= self._next_s and not self._is_refreshing():
                self._thread = Thread(target=self._try_refresh, args=(self._index,), daemon=True)
                self._thread.start()
            return self._index

    def _is_refreshing(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _try_refresh(self, index: WordIndex) -> None:
        """A store that is away is said by the search itself, and read again later."""
        try:
            self._refresh(index)
        except StoreError:
            self._next_s = time.monotonic() + REFRESH_S

    def _refresh(self, index: WordIndex) -> None:
        """Read the texts of assets that are new, and forget those of assets that are gone.

        The number of assets tells whether there are any, but for as many that came as went.
        """
        started_s = time.monotonic()
        own, self._own = self._own, set()
        if started_s >= self._next_full_s or self._rows.count(ASSETS) != len(self._known):
            fresh = self._rows.fresh()
            now = {row["asset_id"] for row in self._rows.where(ASSETS, "", ["asset_id"], fresh)}
            index.remove(self._known - now - own - self._own)
            index.add(self._texts(sorted(now - self._known)))
            self._known = now
            self._next_full_s = time.monotonic() + FULL_REFRESH_S
        ended_s = time.monotonic()
        self._next_s = ended_s + max(REFRESH_S, _SLOWDOWN * (ended_s - started_s))

    def _texts(self, asset_ids: Sequence[str]) -> Iterator[Text]:
        fields = [self._segments.key, "asset_id", "snippet"]
        is_text = f'modality == "{TEXT}"'
        for ids in chunks(asset_ids, _ASSETS_PER_READ):
            expression = f"{is_text} and {among('asset_id', ids)}"
            for row in self._rows.where(self._segments, expression, fields, self._rows.fresh()):
                yield Text(row[self._segments.key], row["asset_id"], row["snippet"])
