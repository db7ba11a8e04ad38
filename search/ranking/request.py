"""One search while it is being answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from encoder.space import Space
from encoder.types import Embeddings, Modality
from search.query.deadline import StageProgress
from search.query.pages import Page
from search.query.planner import QueryPlan
from search.query.query import Query
from search.query.word_search import WordSearch
from search.ranking.fusion import FusedQuery, RankedSegment, score_segments
from search.ranking.weak import Judge
from search.types import ScoredSegment
from search.understanding.evidence import Evidence


@dataclass(frozen=True, eq=False)
class Request:
    """An encoded query and everything that finding, ranking and explaining its hits needs.

    Args:
        query: what the caller asked for.
        plan: which modalities to search, and for how many rows.
        page: the hits of earlier pages.
        term_embeddings: float32 unit rows [len(query.terms), embed_dim].
        fused: all terms as one vector.
        words: the lexical search, already running.
        progress: the stage timer and the deadline.
        space: the space with the calibration of the store at the time of the request.
        hidden: ids of assets that the query itself names, which are not hits.
        judge: says how probable it is that a candidate answers.
        evidence: what shows the dates and places of the query.
        fused_rest: the query without the words for these; None if that is the same.
        named: by asset, the fraction of the query that its names hold; None if names do not count.
    """

    query: Query
    plan: QueryPlan
    page: Page
    term_embeddings: Embeddings
    fused: FusedQuery
    words: WordSearch
    progress: StageProgress
    space: Space
    hidden: frozenset[str]
    judge: Judge
    evidence: Evidence
    fused_rest: FusedQuery | None = None
    named: Future[Mapping[str, float]] | None = None

    def scored(self, modality: Modality, segments: Sequence[ScoredSegment]) -> list[RankedSegment]:
        """Segments of one modality with calibrated scores, best first."""
        return score_segments(modality, segments, self.fused, self.space)
