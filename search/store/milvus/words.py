"""Words of a store's texts: by the server's own BM25, or by an index in this process."""

from __future__ import annotations

import time
from collections.abc import Collection as Ids
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock, Thread
from typing import TypeAlias

from encoder.system.batched import in_batches
from encoder.types import TEXT
from search.errors import IndexNotReadyError, StoreError
from search.filters.milvus import among
from search.lexical import WordIndex, holds, terms
from search.lexical.index import MAX_FOUND, IndexedText
from search.lexical.rarity import Frequencies
from search.store.checks import words_of
from search.store.milvus.rows import MilvusRows, among_assets
from search.store.schema import (
    ASSETS,
    WORDS,
    scalars_of,
    scored_from_dict,
    scored_from_text,
    text_of,
)
from search.store.several import FIRST_ROWS
from search.types import ScoredSegment, SegmentRow

REFRESH_S = 5.0
FULL_REFRESH_S = 60.0
_SLOWDOWN = 20
_ASSETS_PER_READ = 200
_TEXTS_AT_ONCE = 2000
_MOST_COUNTED = 200
"""Of the texts that hold a word; more count as so many."""
_AT_ONCE = 2000
_UNREAD = -1
"""In place of the number of segments of an asset whose commit row was not read since."""
_IS_TEXT = f'modality == "{TEXT}" and {FIRST_ROWS}'


class MilvusWords:
    """BM25 by Milvus's own function, over words that are made here: all stores find the same."""

    def __init__(self, rows: MilvusRows) -> None:
        self._rows = rows
        self._segments = rows.segments

    def added(self, segments: Sequence[SegmentRow]) -> None:
        texts = [row for row in segments if row.modality == TEXT and row.snippet and not row.row]
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
        self._rows.delete([WORDS], asset_ids)

    def find(self, text: str, limit: int, asset_ids: Ids[str] | None) -> list[ScoredSegment]:
        """The segments whose text holds words of ``text``, best first, ties by id.

        Their ``cosine`` is BM25; 1,000 at most. Their asset may have been deleted by others.
        """
        query_terms = frozenset(terms(text))
        limit = n_asked = min(limit, MAX_FOUND)
        while True:
            scores = self._scores(text, n_asked, asset_ids)
            hits = self._that_hold(query_terms, scores)
            if len(hits) >= limit or len(scores) < n_asked or n_asked > MAX_FOUND:
                return hits[:limit]
            n_asked *= 4

    def _that_hold(
        self, query_terms: frozenset[str], scores: Mapping[str, float]
    ) -> list[ScoredSegment]:
        rows = self._rows.of(self._segments, self._segments.key, list(scores))
        matching = [row for row in rows if holds(row["snippet"], query_terms)]
        hits = [scored_from_dict(row, scores[row[self._segments.key]]) for row in matching]
        return sorted(hits, key=lambda hit: (-hit.cosine, hit.segment_id))

    def _scores(self, text: str, limit: int, asset_ids: Ids[str] | None) -> dict[str, float]:
        """Ids of segments with their BM25; some may be gone, or hold other words."""
        scores: list[tuple[str, float]] = []
        query = " ".join(dict.fromkeys(terms(text)))
        for expression in among_assets(asset_ids) if query else ():
            (answer,) = self._rows.read(
                "search",
                WORDS,
                data=[query],
                anns_field=WORDS.vector,
                filter=expression,
                limit=limit,
                output_fields=[WORDS.key],
                search_params={"metric_type": "BM25", "params": {}},
            )
            # Milvus Lite gives them as distances, which are negative.
            scores += [(hit["entity"][WORDS.key], abs(float(hit["distance"]))) for hit in answer]
        return dict(sorted(scores, key=lambda hit: (-hit[1], hit[0]))[:limit])

    def frequencies(self, wanted: Ids[str], n_texts: int) -> Frequencies:
        """As many texts as the server finds of each term, `_MOST_COUNTED` at most."""
        if not (terms_wanted := list(wanted)):
            return Frequencies(n_texts)
        answers = self._rows.read(
            "search",
            WORDS,
            data=terms_wanted,
            anns_field=WORDS.vector,
            limit=_MOST_COUNTED,
            output_fields=[],
            search_params={"metric_type": "BM25", "params": {}},
        )
        return Frequencies(n_texts, dict(zip(terms_wanted, map(len, answers), strict=True)))

    def close(self) -> None: ...


class MirroredWords:
    """An index of a server's texts in this process, for servers without BM25.

    What this store object writes and deletes is known at once. What others do becomes known after
    `REFRESH_S` and the time to read it; after `FULL_REFRESH_S` if they add as many assets as they
    delete; or later if checking is slow: it takes at most a twentieth of the time. The index is
    built at the very first search, for a large library in the background. It is in temporary files,
    with the fields of hits; only the ids of assets are in memory.
    """

    def __init__(self, rows: MilvusRows) -> None:
        self._rows = rows
        self._segments = rows.segments
        self._lock = Lock()
        self._index: WordIndex | None = None
        self._known: dict[str, int] = {}
        self._own: set[str] = set()
        self._removed: set[str] = set()
        self._next_s = 0.0
        self._next_full_s = 0.0
        self._thread: Thread | None = None

    def added(self, segments: Sequence[SegmentRow]) -> None:
        if self._index is not None:
            own_rows = [row for row in segments if row.modality == TEXT and not row.row]
            texts = [text_of(scalars_of(row)) for row in own_rows]
            self._own.update(text.asset_id for text in texts)
            self._known.update(dict.fromkeys((text.asset_id for text in texts), _UNREAD))
            self._index.add(texts)
            self._index.commit()

    def removed(self, asset_ids: Sequence[str]) -> None:
        if self._index is not None:
            self._removed.update(asset_ids)
            for asset_id in asset_ids:  # if another adds one again, it is new
                self._known.pop(asset_id, None)
            self._index.remove(asset_ids)
            self._index.commit()

    def find(self, text: str, limit: int, asset_ids: Ids[str] | None) -> list[ScoredSegment]:
        """See `MilvusWords.find`; raises IndexNotReadyError until the texts have been read."""
        hits = self._refreshed().find(text, min(limit, MAX_FOUND), asset_ids)
        return [scored_from_text(hit) for hit in hits]

    def frequencies(self, wanted: Ids[str], n_texts: int) -> Frequencies:
        index = self._index
        return index.frequencies(wanted) if index else Frequencies(n_texts)

    def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        index, self._index = self._index, None
        if index is not None:
            index.close()

    def _refreshed(self) -> WordIndex:
        """The index; a thread updates it when it is time, so that searches do not wait."""
        with self._lock:
            is_first = self._index is None and self._thread is None
            if is_first and self._rows.count(ASSETS) <= _AT_ONCE:
                self._refresh(index := WordIndex())
                self._index = index
            is_busy = self._thread is not None and self._thread.is_alive()
            if time.monotonic() >= self._next_s and not is_busy:
                self._thread = Thread(target=self._try_refresh, daemon=True)
                self._thread.start()
            if self._index is None:
                raise IndexNotReadyError(
                    "The words of this store are still being read, so only meaning counted.",
                    "Search again later. A command reads them anew each time, "
                    "unless `anymodal serve` runs here.",
                )
            return self._index

    def _try_refresh(self) -> None:
        """The search itself reports an unreachable store, which is read again later."""
        index = self._index or WordIndex()
        try:
            self._refresh(index)
            self._index = index
        except StoreError:
            self._next_s = time.monotonic() + REFRESH_S

    def _refresh(self, index: WordIndex) -> None:
        """Read the texts of new and changed assets, and remove deleted ones.

        The number of assets shows whether there are any, unless as many were added as deleted.
        """
        started_s = time.monotonic()
        own_ids, self._own, self._removed = self._own, set(), set()
        if started_s >= self._next_full_s or self._rows.count(ASSETS) != len(self._known):
            fields = ["asset_id", "n_segments"]
            stored = self._rows.where(ASSETS, "", fields)
            sizes = {row["asset_id"]: row["n_segments"] for row in stored}
            known = dict(self._known)
            changed = {asset_id for asset_id, size in sizes.items() if known.get(asset_id) != size}
            gone = known.keys() - sizes.keys() | changed & known.keys()
            index.remove(gone - own_ids - self._own)
            for texts in self._texts(sorted(changed) if known else None):
                index.add(texts)
            index.commit()
            # Own texts may be committed yet, or have been deleted by another: the next time tells.
            uncertain_ids = (own_ids | self._own) - sizes.keys() | self._removed
            self._known = sizes | dict.fromkeys(uncertain_ids, _UNREAD)
            self._next_full_s = time.monotonic() + FULL_REFRESH_S
        ended_s = time.monotonic()
        self._next_s = ended_s + max(REFRESH_S, _SLOWDOWN * (ended_s - started_s))

    def _texts(self, asset_ids: Sequence[str] | None) -> Iterator[list[IndexedText]]:
        """The texts of these assets, or of all, some at a time."""
        if asset_ids is None:
            rows = self._rows.where(self._segments, _IS_TEXT, self._segments.scalars)
            yield from (list(map(text_of, page)) for page in in_batches(rows, _TEXTS_AT_ONCE))
            return
        for ids in in_batches(asset_ids, _ASSETS_PER_READ):
            expression = f"{_IS_TEXT} and {among('asset_id', ids)}"
            rows = self._rows.where(self._segments, expression, self._segments.scalars)
            yield [text_of(row) for row in rows]


TextWords: TypeAlias = MilvusWords | MirroredWords
