"""Fuses the terms of a query into one vector, and lists of several modalities into one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError
from encoder.space import UNCALIBRATED, Space, l2_normalize
from encoder.types import Embeddings, Modality
from search.store.several import IDENTICAL
from search.types import ScoredSegment

# The weight of the best word match, in spreads of the query's own scores; see
# benchmarks/retrieval/hybrid.py.
_WORDS_WEIGHT = 4.0
SPREAD_OF = 32
"""How many of a modality's best segments are used to measure the spread of its scores."""


@dataclass(frozen=True, eq=False)
class FusedQuery:
    """All terms of a query in one vector, so that one search ranks by all of them together.

    Args:
        direction: of unit length, float32 [embed_dim]; the store is searched with it.
        length: of the vector before it was scaled to unit length.
        weight: 1, less the weights of the negative terms.
    """

    direction: Embeddings
    length: float = 1.0
    weight: float = 1.0

    @property
    def shift(self) -> float:
        """Scores rank as ``(cosine - shift * mu) / c`` does: see `score_cosines`."""
        return self.weight / self.length


class RankedSegment(NamedTuple):
    """A segment with its score, which compares across modalities.

    Args:
        segment: with its raw cosine to the fused query.
        score: what it is ranked by.
        dense_score: the calibrated score of its cosine; None if only words found it.
        dense_rank: its place by vectors within its modality, from 1; likewise.
        lexical_score: BM25, if words of the query were found in it.
        lexical_rank: its place among the segments found by words, from 1.
        named: the fraction of the query that its asset's names hold, 0 to 1.
    """

    segment: ScoredSegment
    score: float
    dense_score: float | None = None
    dense_rank: int | None = None
    lexical_score: float | None = None
    lexical_rank: int | None = None
    named: float = 0.0


def fuse_terms(embeddings: Embeddings, weights: Sequence[float]) -> FusedQuery:
    """The direction towards the positive terms, and away from the negative ones.

    The positive terms make one unit vector p, the weighted mean of their rows; each negative term
    n_j is subtracted from it r_j times, r_j being its weight divided by the sum of the positive
    ones. The cosine to p - Σ r_j n_j, times its length, is the cosine to p less r_j times that to
    each n_j, so that one search ranks by the difference.

    Args:
        embeddings: unit rows [n, embed_dim].
        weights: one per row, at least one of them positive.

    Raises:
        InputError: the terms cancel each other out.
    """
    rows = l2_normalize(embeddings).astype(np.float64)
    pulls = np.maximum(np.asarray(weights, np.float64), 0.0)
    pushes = (pulls - np.asarray(weights)) / pulls.sum()
    pulled = pulls @ rows
    _check_direction(pulled, pulls.sum())
    fused = pulled / np.linalg.norm(pulled) - pushes @ rows
    _check_direction(fused, 1.0)
    length = float(np.linalg.norm(fused))
    return FusedQuery(l2_normalize(fused), length, float(1.0 - pushes.sum()))


def _check_direction(vector: NDArray[np.float64], scale: float) -> None:
    if np.linalg.norm(vector) < 1e-6 * scale:
        raise InputError(
            "query.items", got="items that cancel each other out", wanted="a direction to search in"
        )


def score_cosines(
    modality: Modality,
    cosines: NDArray[np.float64],
    query: FusedQuery,
    space: Space,
    row: int = 0,
) -> NDArray[np.float64]:
    """Scores of cosines [n] to the fused query, which compare across modalities.

    For a query without negative terms, it is the calibrated cosine. A negative term subtracts its
    weight times *its* calibrated cosine: if the difference were calibrated like a cosine, each
    modality's list would shift by a different amount. Content identical to the query gets the
    highest score that any modality has, so that it ranks first in a mixed list too. ``row`` says
    which of their rows the segments were found by.
    """
    mu = space.calibration_of(modality).of_row(row).mu
    shifted = query.length * cosines + (1 - query.weight) * mu
    calibrated = space.calibrate(modality, shifted, row)
    return np.where(cosines >= IDENTICAL, _highest_score(space), calibrated)


def identical_is_above(score: float, modality: Modality, query: FusedQuery, space: Space) -> bool:
    """Whether a list that ends at ``score`` holds any segment that is identical to the query.

    The list is ranked by calibrated cosines, and the segment is of this modality.
    """
    first = space.calibration_of(modality)
    cosines = ((query.length + (1 - query.weight) * row.mu, row) for row in (first, *first.further))
    return min((cosine - row.mu) / row.c for cosine, row in cosines) > score


def score_segments(
    modality: Modality, segments: Sequence[ScoredSegment], query: FusedQuery, space: Space
) -> list[RankedSegment]:
    """The segments of one modality with their scores, best first."""
    if not segments:
        return []
    counted: list[tuple[float, float, ScoredSegment]] = []
    for row in dict.fromkeys(segment.row for segment in segments):
        of_row = [segment for segment in segments if segment.row == row]
        cosines = np.array([segment.cosine for segment in of_row], np.float64)
        scores = score_cosines(modality, cosines, query, space, row).tolist()
        doubts = [
            doubted(score, candidate.confidence)
            for score, candidate in zip(scores, of_row, strict=True)
        ]
        counted += zip(doubts, scores, of_row, strict=True)
    counted.sort(key=lambda candidate: (-candidate[0], candidate[2].segment_id))
    return [
        RankedSegment(segment, counts, dense_score=score, dense_rank=place)
        for place, (counts, score, segment) in enumerate(counted, 1)
    ]


def doubted(score: float, confidence: float) -> float:
    """The score of recognised speech, reduced by the doubt about its words.

    >>> doubted(4.0, 1.0), doubted(4.0, 0.5), doubted(-1.0, 0.5)
    (4.0, 2.0, -1.0)
    """
    return score * confidence if score > 0 else score


def _highest_score(space: Space) -> float:
    """The score of a cosine of 1, in the modality where it is the highest."""
    constants = (UNCALIBRATED, *space.calibration.values())
    return max(
        row.apply(1.0) for calibration in constants for row in (calibration, *calibration.further)
    )


def rank(lists: Mapping[Modality, Sequence[RankedSegment]]) -> list[RankedSegment]:
    """One list from those of the modalities, best first, ties by segment id."""
    together = [candidate for candidates in lists.values() for candidate in candidates]
    return sorted(together, key=lambda c: (-c.score, c.segment.segment_id))


class WordsWeight(NamedTuple):
    """What a match of words adds to a score: ``gain`` times BM25, divided by ``best``.

    Args:
        gain: in units of the scores.
        best: the highest BM25 of the query.
    """

    gain: float
    best: float


def words_weight(
    dense: Sequence[RankedSegment],
    lexical: Sequence[ScoredSegment],
    weight: float = _WORDS_WEIGHT,
) -> WordsWeight:
    """How much words weigh compared with the vectors of one modality.

    The best match gains ``weight`` times the standard deviation of the best `SPREAD_OF` scores, so
    that words count the same for every model, calibrated or not: scores times a, plus b, give the
    same ranking. The first score is left out, or words would weigh more the further it leads; so
    are segments identical to the query, which words do not move.

    Args:
        dense: scored segments of one modality, best first.
        lexical: segments of the same modality that words found, at least one.
        weight: in standard deviations.
    """
    best = max(segment.cosine for segment in lexical) or 1.0
    return WordsWeight(weight * _spread(dense), best)


def _spread(dense: Sequence[RankedSegment]) -> float:
    scores = [c.score for c in dense[:SPREAD_OF] if c.segment.cosine < IDENTICAL]
    if not scores or scores[0] == scores[-1]:
        return 1.0  # nothing to weigh words against
    behind = scores[1:]
    if behind[0] == behind[-1]:
        return (scores[0] - scores[-1]) / 2
    return float(np.std(behind, ddof=1))


def with_words(
    dense: Sequence[RankedSegment],
    lexical: Sequence[ScoredSegment],
    weight: WordsWeight,
    unseen: float | None = None,
) -> list[RankedSegment]:
    """Re-rank the segments of one modality by word matches, within its share of a mixed list.

    BM25 is added to the score by its weight (a convex combination; Bruch, Gai and Ingber, TOIS
    2023). In the new order, the first segment gets the score that the first one had before, the
    second that of the second, and so on: words reorder texts among the places of texts, and no
    picture or sound moves. Segments identical to the query stay in front.

    Args:
        dense: scored segments of one modality, best first.
        lexical: segments of the same modality that words found, best first, with BM25 as cosine.
        weight: see `words_weight`.
        unseen: the score assumed for segments found only by words; None for that of the last of
            ``dense``.

    Returns:
        As many candidates as ``dense`` has, of both lists.
    """
    if not dense or not lexical:
        return list(dense)
    word_ranks = {segment.segment_id: (place, segment) for place, segment in enumerate(lexical, 1)}
    lowest = dense[-1].score if unseen is None else unseen
    segment_ids = {candidate.segment.segment_id for candidate in dense}
    candidates = [
        *dense,
        *(RankedSegment(s, lowest) for s in lexical if s.segment_id not in segment_ids),
    ]

    def with_match(candidate: RankedSegment) -> RankedSegment:
        place, segment = word_ranks.get(candidate.segment.segment_id, (None, None))
        if segment is None:
            return candidate
        return candidate._replace(lexical_rank=place, lexical_score=segment.cosine)

    def order(candidate: RankedSegment) -> tuple[bool, float, str]:
        by_words = weight.gain * (candidate.lexical_score or 0.0) / weight.best
        is_other = candidate.dense_rank is None or candidate.segment.cosine < IDENTICAL
        return is_other, -candidate.score - by_words, candidate.segment.segment_id

    ordered = sorted(map(with_match, candidates), key=order)
    return [
        candidate if candidate.score == slot.score else candidate._replace(score=slot.score)
        for candidate, slot in zip(ordered, dense, strict=False)
    ]


LEAST_PART = 0.3
"""Names that hold a smaller part of a query are ignored."""


def with_names(
    candidates: Sequence[RankedSegment],
    by_name: Sequence[RankedSegment],
    parts: Mapping[str, float],
) -> list[RankedSegment]:
    """The candidates of one modality, with those in front whose asset is named like the query.

    An asset whose names hold the whole query moves to the front; one whose names hold a part of it
    moves the square of that part of the way there: with two words of four, a quarter. In the new
    order, the first gets the score that the first one had before, and so on, so that other
    modalities keep their places. Only the best segment of an asset moves.

    Args:
        candidates: scored, best first.
        by_name: scored segments of the assets in ``parts``; some may be in ``candidates``.
        parts: by asset, 0 to 1.
    """
    segment_ids = {candidate.segment.segment_id for candidate in candidates}
    candidates_and_named = [
        *candidates,
        *(candidate for candidate in by_name if candidate.segment.segment_id not in segment_ids),
    ]
    best: dict[str, str] = {}
    for candidate in sorted(candidates_and_named, key=lambda candidate: -candidate.score):
        best.setdefault(candidate.segment.asset_id, candidate.segment.segment_id)

    def part_of(candidate: RankedSegment) -> float:
        asset_id = candidate.segment.asset_id
        return parts.get(asset_id, 0.0) if best[asset_id] == candidate.segment.segment_id else 0.0

    slots = sorted((candidate.score for candidate in candidates_and_named), reverse=True)

    def order(candidate: RankedSegment) -> tuple[bool, float, float, float, str]:
        is_other = candidate.dense_rank is None or candidate.segment.cosine < IDENTICAL
        reached = candidate.score + candidate.named**2 * (slots[0] - candidate.score)
        return is_other, -reached, -candidate.named, -candidate.score, candidate.segment.segment_id

    ordered = sorted(
        (candidate._replace(named=part_of(candidate)) for candidate in candidates_and_named),
        key=order,
    )
    return [candidate._replace(score=slot) for candidate, slot in zip(ordered, slots, strict=True)]
