"""One search while it is being answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from encoder.space import Calibration, Space
from encoder.types import TEXT, Embeddings, Modality
from search.deadline import StageProgress
from search.query.pages import Page
from search.query.planner import QueryPlan
from search.query.query import Query
from search.query.word_search import WordSearch
from search.ranking.fusion import FusedQuery, RankedSegment, score_segments
from search.ranking.verdict import Verdict
from search.types import ScoredSegment
from search.understanding.evidence import Evidence

_LEAN = 2.5
"""What the scores of pictures and sounds gain from a question to a name."""
_MOST_NAMING = 0.75


@dataclass(frozen=True, eq=False)
class LaneQuery:
    """A query as the segments of one lane are compared with it.

    Args:
        model: that encoded it; empty if all lanes have the same.
        space: of the lane, with the calibration of its store at the time of the request.
        term_embeddings: float32 unit rows [len(query.terms), embed_dim].
        fused: all terms as one vector.
        fused_rest: the query without the words for dates and places; None if that is the same.
        has_text: whether any term is of a text, or of words said.
    """

    model: str
    space: Space
    term_embeddings: Embeddings
    fused: FusedQuery
    fused_rest: FusedQuery | None
    has_text: bool

    @property
    def naming(self) -> float:
        """How far the query names a thing instead of asking a question: about -.5 to .5."""
        bank = self.space.bank
        along = float(bank.naming @ self.fused.direction) - bank.middle if bank else 0.0
        return min(max(along, -_MOST_NAMING), _MOST_NAMING)

    def centred(self) -> LaneQuery:
        """The same as rows are compared with it; see `FusedQuery.centred`."""
        if not self.has_text:
            return self
        rest = self.fused_rest and self.fused_rest.centred(self.space)
        return replace(self, fused=self.fused.centred(self.space), fused_rest=rest)


def leaning(space: Space, asked: Mapping[Modality, LaneQuery]) -> Space:
    """The space in which a query that names a thing leans towards pictures and sounds of it.

    One that asks a question leans towards texts, which answer it. The constants of each modality
    but texts move with it, so that stores rank by it.
    """

    def moved(by: Calibration, shift: float) -> Calibration:
        further = tuple(moved(row, shift) for row in by.further)
        return replace(by, mu=by.mu - shift * by.c, further=further)

    shifts = {m: _LEAN * lane.naming for m, lane in asked.items() if m != TEXT}
    calibration = {
        modality: moved(by, shifts.get(modality, 0.0)) for modality, by in space.calibration.items()
    }
    return replace(space, calibration=calibration)


@dataclass(frozen=True, eq=False)
class Request:
    """An encoded query and everything that finding, ranking and explaining its hits needs.

    Args:
        query: what the caller asked for.
        plan: which modalities to search, and for how many rows.
        page: the hits of earlier pages.
        lanes: the query as it was encoded for each modality that is searched; modalities of one
            lane have the same object.
        words: the lexical search, already running.
        progress: the stage timer and the deadline.
        space: the constants of all modalities; of its lanes, `LaneQuery.space`.
        hidden: ids of assets that the query itself names, which are not hits.
        verdict: what is known of the question before its hits are; None if they are not judged.
        levels: by modality, what the question scores on foreign texts in its lane.
        evidence: what shows the dates and places of the query.
        named: by asset, the fraction of the query that its names hold; None if names do not count.
    """

    query: Query
    plan: QueryPlan
    page: Page
    lanes: Mapping[Modality, LaneQuery]
    words: WordSearch
    progress: StageProgress
    space: Space
    hidden: frozenset[str]
    verdict: Verdict | None
    levels: Mapping[Modality, float]
    evidence: Evidence
    named: Future[Mapping[str, float]] | None = None

    def scored(self, modality: Modality, segments: Sequence[ScoredSegment]) -> list[RankedSegment]:
        """Segments of one modality with calibrated scores, best first."""
        return score_segments(modality, segments, self.lanes[modality].fused, self.space)

    @property
    def has_end(self) -> bool:
        """Whether its list ends before all that is stored is listed."""
        threshold = self.query.score_threshold
        return self.verdict is not None or self.evidence.lists or threshold is not None

    @property
    def rest(self) -> Request | None:
        """The request without the words for dates and places; None if that is the same."""
        if not any(lane.fused_rest for lane in self.lanes.values()):
            return None
        lanes = {
            id(lane): replace(lane, fused=lane.fused_rest or lane.fused)
            for lane in self.lanes.values()
        }
        return replace(self, lanes={m: lanes[id(lane)] for m, lane in self.lanes.items()})
