"""Look up a query's words while its vectors are still being computed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.errors import IndexNotReadyError
from search.filters import Filter
from search.lexical.analysis import terms
from search.lexical.rarity import QueryWords
from search.query.planner import QueryPlan
from search.store.base import VectorStore
from search.types import ScoredSegment

_N_BEST = 50
"""How many segments gain by their words, on every page alike: those with the highest BM25."""
_NEAR = 3
"""Words count together if they stand in passages of a document that are so near each other."""


class WordMatch(NamedTuple):
    """What words of the query say of a segment.

    Args:
        rank: its place among all that words found, from 1.
        bm25: its score there.
        share: of the query's words by their rarity, what it and its neighbours hold, 0 to 1.
    """

    rank: int
    bm25: float
    share: float


@dataclass(frozen=True)
class FoundByWords:
    """The segments that words found, best first, and by segment id what their words say.

    ``warning`` says what the answer lacks, if the index is behind.
    """

    segments: Sequence[ScoredSegment] = ()
    matches: Mapping[str, WordMatch] = field(default_factory=dict)
    warning: str = ""


class WordSearch:
    """The words of one query.

    Args:
        store: what is searched.
        plan: the query's.
        executor: runs the look-ups.
        filter: the query's.
    """

    def __init__(
        self,
        store: VectorStore,
        plan: QueryPlan,
        executor: Executor,
        filter: Filter | None = None,
    ) -> None:
        self._store = store
        self._filter = filter
        self._executor = executor
        self.text = "" if plan.lexical is False else " ".join(plan.words)
        # The words are known while the query is still being encoded.
        self._in_all = self._submit(None)

    def look(self, asset_ids: Collection[str] | None = None) -> Future[FoundByWords] | None:
        """The best segments, of these assets if any are named; None if no words are wanted."""
        return self._in_all if asset_ids is None else self._submit(asset_ids)

    def _submit(self, asset_ids: Collection[str] | None) -> Future[FoundByWords] | None:
        return self._executor.submit(self._find, asset_ids) if self.text else None

    def _find(self, asset_ids: Collection[str] | None) -> FoundByWords:
        filter = self._filter if asset_ids is None else None
        warning = ""
        try:
            segments = self._store.lexical(self.text, _N_BEST, asset_ids=asset_ids, filter=filter)
        except IndexNotReadyError as error:
            if error.hits is None:
                raise
            segments, warning = list(error.hits), str(error)
        if not segments:
            return FoundByWords(warning=warning)
        frequencies = self._store.frequencies(dict.fromkeys(terms(self.text)))
        shares = shares_held(QueryWords(self.text, frequencies), segments)
        return FoundByWords(
            segments,
            {
                segment.segment_id: WordMatch(rank, segment.cosine, share)
                for rank, (segment, share) in enumerate(zip(segments, shares, strict=True), 1)
            },
            warning,
        )


def shares_held(query_words: QueryWords, segments: Sequence[ScoredSegment]) -> list[float]:
    """The share of the query's words that each segment and its neighbours hold, 0 to 1.

    Words may stand in several passages of a document. Those of a whole book say little, so only
    the passages within three count.
    """
    held_shares = query_words.held([segment.snippet for segment in segments])
    together = held_shares.copy()
    by_asset: dict[str, list[int]] = {}
    for index, segment in enumerate(segments):
        by_asset.setdefault(segment.asset_id, []).append(index)
    for indices in by_asset.values():
        if len(indices) > 1:
            is_near = _near([segments[index] for index in indices])
            rows = held_shares[indices]
            together[indices] = np.where(is_near[:, :, None], rows[None], 0.0).max(axis=1)
    shares: list[float] = (together @ query_words.weights).tolist()
    return shares


def _near(segments: Sequence[ScoredSegment]) -> NDArray[np.bool_]:
    """Which of these segments of one asset are neighbours: [n, n]."""
    spans = np.array([_span(segment) for segment in segments])
    start, length = spans[:, 0], spans[:, 1]
    reach = _NEAR * np.maximum(length[:, None], length)
    return np.asarray(np.abs(start[:, None] - start) <= reach)


def _span(segment: ScoredSegment) -> tuple[float, float]:
    """Where a segment begins, and how long it is: in characters, or in seconds."""
    if segment.char_start is not None:
        return segment.char_start, (segment.char_end or segment.char_start) - segment.char_start
    start_s = segment.start_s or 0.0
    return start_s, (segment.end_s or start_s) - start_s
