"""Words of a store's texts, by the server's own BM25."""

from __future__ import annotations

from collections.abc import Collection as Ids
from collections.abc import Mapping, Sequence

from encoder.types import TEXT
from search.lexical import holds, terms
from search.lexical.index import MAX_FOUND
from search.lexical.rarity import Frequencies
from search.store.checks import words_of
from search.store.milvus.rows import MilvusRows, among_assets
from search.store.schema import scored_from_dict, segments_collection, words_collection
from search.types import ScoredSegment, SegmentRow

_MOST_COUNTED = 200
"""Of the texts that hold a word; more count as so many."""


class MilvusWords:
    """BM25 of a space's texts, by Milvus's own function.

    Words are made here: all stores find the same.
    """

    def __init__(self, rows: MilvusRows, space: str) -> None:
        self._rows = rows
        self._segments = segments_collection(space)
        self.collection = words_collection(space)

    def added(self, segments: Sequence[SegmentRow | ScoredSegment]) -> None:
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
            self._rows.upsert(self.collection, rows)

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
        key = self.collection.key
        query = " ".join(dict.fromkeys(terms(text)))
        for expression in among_assets(asset_ids) if query else ():
            (answer,) = self._rows.read(
                "search",
                self.collection,
                data=[query],
                anns_field=self.collection.vector,
                filter=expression,
                limit=limit,
                output_fields=[key],
                search_params={"metric_type": "BM25", "params": {}},
            )
            # Milvus Lite gives them as distances, which are negative.
            scores += [(hit["entity"][key], abs(float(hit["distance"]))) for hit in answer]
        return dict(sorted(scores, key=lambda hit: (-hit[1], hit[0]))[:limit])

    def frequencies(self, index_terms: Ids[str], n_texts: int) -> Frequencies:
        """As many texts as the server finds of each term, `_MOST_COUNTED` at most."""
        if not (terms_wanted := list(index_terms)):
            return Frequencies(n_texts)
        answers = self._rows.read(
            "search",
            self.collection,
            data=terms_wanted,
            anns_field=self.collection.vector,
            limit=_MOST_COUNTED,
            output_fields=[],
            search_params={"metric_type": "BM25", "params": {}},
        )
        return Frequencies(n_texts, dict(zip(terms_wanted, map(len, answers), strict=True)))
