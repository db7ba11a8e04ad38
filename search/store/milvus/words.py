"""Search the words of a store's texts."""

from __future__ import annotations

from collections.abc import Collection as Ids
from collections.abc import Mapping, Sequence
from typing import Protocol

from encoder.types import TEXT
from search.lexical import holds, terms
from search.lexical.index import MAX_FOUND
from search.store.checks import words_of
from search.store.milvus.link import MilvusLink
from search.store.milvus.rows import MilvusRows, among_assets
from search.store.schema import WORDS, scored_from_dict
from search.store.segments import Collection
from search.types import ScoredSegment, SegmentRow


class TextWords(Protocol):
    """Segments with text, found by words."""

    def added(self, segments: Sequence[SegmentRow]) -> None:
        """These segments were stored."""
        ...

    def removed(self, asset_ids: Sequence[str]) -> None:
        """These assets were deleted."""
        ...

    def find(self, text: str, limit: int, asset_ids: Ids[str] | None) -> list[ScoredSegment]:
        """The segments whose text holds words of ``text``, best first, ties by id.

        Their ``cosine`` is BM25; 1,000 at most. Their asset may have been deleted by others.
        """
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class MilvusWords:
    """BM25 by Milvus's own function, over words that are made here: all stores find the same."""

    def __init__(self, link: MilvusLink, rows: MilvusRows, segments: Collection) -> None:
        self._link = link
        self._rows = rows
        self._segments = segments

    def added(self, segments: Sequence[SegmentRow]) -> None:
        """Store the words of texts."""
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
        """Remove the words of these assets."""
        self._rows.delete([WORDS], asset_ids)

    def find(self, text: str, limit: int, asset_ids: Ids[str] | None) -> list[ScoredSegment]:
        """See `TextWords.find`."""
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
        """The segments among these that are stored and hold one of the words, best first."""
        rows = self._rows.of(self._segments, self._segments.key, list(scores))
        matching = [row for row in rows if holds(row["snippet"], query_terms)]
        hits = [scored_from_dict(row, scores[row[self._segments.key]]) for row in matching]
        return sorted(hits, key=lambda hit: (-hit.cosine, hit.segment_id))

    def _scores(self, text: str, limit: int, asset_ids: Ids[str] | None) -> dict[str, float]:
        """Ids of segments with their BM25; some may be gone, or hold other words."""
        scores: list[tuple[str, float]] = []
        query = " ".join(dict.fromkeys(terms(text)))
        for expression in among_assets(asset_ids) if query else ():
            (answer,) = self._link.call(
                "search",
                self._rows.name(WORDS),
                data=[query],
                anns_field=WORDS.vector,
                filter=expression,
                limit=limit,
                output_fields=[WORDS.key],
                search_params={"metric_type": "BM25", "params": {}},
                **self._rows.fresh(),
            )
            # Milvus Lite gives them as distances, which are negative.
            scores += [(hit["entity"][WORDS.key], abs(float(hit["distance"]))) for hit in answer]
        return dict(sorted(scores, key=lambda hit: (-hit[1], hit[0]))[:limit])

    def close(self) -> None:
        """Nothing to release."""
