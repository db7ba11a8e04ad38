"""Say how probable it is that each hit of a list answers, and where the list ends. Pure.

Every question has a nearest segment, whether or not anything answers it. What it scores is compared
with what chance gives: the question's own level, which is its mean score on foreign texts; the
hit's own, which is its mean score on the foreign questions that it is nearest to (both as in
cross-domain similarity local scaling, Conneau et al. 2018); and the number of segments, since the
best of more is better. If no hit stands out, the list is empty; else it ends where hits stop being
comparable with what stands out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.calibration.bank import N_NEAREST
from encoder.space import Bank, Space
from encoder.types import AUDIO, TEXT, Embeddings, Modality
from search.ranking.fusion import WHOLE, FusedQuery, RankedSegment
from search.types import ScoredSegment

_USUAL_BEST, _USUAL_NEAREST = 4.09, 2.89
"""Of the bank of the space in which the threshold was chosen."""
_HELD = 2.0
"""What the words of the question are worth that a hit holds, beside what ranks it."""
_MEDIA, _SOUND = 0.2, -0.4
"""How much more chance gives among pictures than among texts, and how much less among sounds."""
_THRESHOLD, _GROWTH, _FEWEST = 3.31, 0.25, 300
"""What the best of so many segments reaches for one of seven questions that nothing answers, and
how much more the best of e times as many does."""
_COMPARABLE = 0.5
_ALL_WORDS = 0.95
_LEAST_RERANKED = 0.1


def threshold_among(n_segments: float) -> float:
    """The value that the best of so many segments has to reach.

    >>> round(threshold_among(20_000) - threshold_among(300), 2)
    1.05
    """
    return _THRESHOLD + _GROWTH * math.log(max(n_segments, _FEWEST) / _FEWEST)


class ForeignScores:
    """What questions score on the foreign texts of a bank, and stored rows on its questions.

    Args:
        bank: of a lane.
        space: its space, with the model's own constants: those of a store move with its content.
        shipped: the modalities whose constants the model ships.
    """

    def __init__(self, bank: Bank, space: Space, shipped: Collection[Modality]) -> None:
        self.space = space
        self._bank, self._shipped = bank, frozenset(shipped)
        self._asked, self._levels = space.asked(bank.questions)

    def level(self, question: FusedQuery) -> float:
        """The mean score of a question on foreign texts."""
        centred_query = question.centred(self.space)
        cosine = centred_query.length * float(self._bank.foreign @ centred_query.direction)
        return self.space.score(TEXT, cosine, level=centred_query.weight)

    def by_chance(self, level: float, row: Embeddings, segment: ScoredSegment) -> float:
        """What chance gives a hit in this lane.

        Args:
            level: of the question.
            row: of the hit's segment, [embed_dim].
            segment: the hit's.
        """
        modality = segment.modality
        nearest = self._nearest(row, segment)
        if modality != TEXT and modality not in self._shipped:
            return nearest - _USUAL_NEAREST  # its constants are rough: only the row's level counts
        chance = self._bank.by_chance(level, nearest) + self._bank.best - _USUAL_BEST
        if modality == TEXT:
            return chance
        return chance + (_SOUND if modality == AUDIO else _MEDIA)

    def _nearest(self, row: Embeddings, segment: ScoredSegment) -> float:
        """The mean score of a row [embed_dim] on the questions that it is nearest to."""
        is_text = segment.modality == TEXT
        questions = self._asked if is_text else self._bank.questions
        levels: NDArray[np.float64] | float = self._levels if is_text else 1.0
        cosines = (questions @ row).astype(np.float64)
        scores = self.space.score(segment.modality, cosines, row=segment.row, level=levels)
        nearest = np.partition(scores, -min(N_NEAREST, len(scores)))[-N_NEAREST:]
        return float(nearest.mean())


@dataclass(frozen=True)
class Verdict:
    """What is known of a question before its hits are.

    Args:
        threshold: see `threshold_among`.
        best: the value of the best hit on earlier pages.
        last: the probability of the last hit on earlier pages; hits behind it have no higher one.
        is_over: whether the list ended there.
    """

    threshold: float
    best: float = -math.inf
    last: float = 1.0
    is_over: bool = False


class Weighed(NamedTuple):
    """A hit as it is judged.

    Args:
        value: how far it stands out from chance, see `value_of`.
        candidate: its best segment.
        reranked: the score of a reranker, 0 to 1, which takes the place of all else.
    """

    value: float
    candidate: RankedSegment
    reranked: float | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the hit, or a name of its asset, holds all words of the question."""
        match = self.candidate.match
        is_held = match is not None and match.share >= _ALL_WORDS
        return is_held or self.candidate.name_part >= WHOLE


class Judged(NamedTuple):
    """What is said of a hit: how probable it is that it answers, and whether chance explains it."""

    probability: float
    weak: bool


def value_of(candidate: RankedSegment, by_chance: float) -> float:
    """How far a hit stands out from chance, in calibrated units.

    Args:
        candidate: its best segment.
        by_chance: see `ForeignScores`.
    """
    held_share = candidate.match.share if candidate.match else 0.0
    return candidate.score + _HELD * held_share - by_chance


def judge(hits: Sequence[Weighed], verdict: Verdict) -> tuple[list[Judged], Verdict]:
    """The judgement of each hit of a page, and the verdict for the page behind it.

    Probabilities never rise down the list, and no strong hit is behind a weak one.

    Args:
        hits: in the order in which they are shown.
        verdict: of the question, or that of the page before.
    """
    best = max([verdict.best, *(hit.value for hit in hits)])
    stands_out = best >= verdict.threshold
    least = verdict.threshold - _COMPARABLE
    passing = [
        hit.is_whole or (stands_out and hit.value >= least)
        if hit.reranked is None
        else hit.reranked >= _LEAST_RERANKED
        for hit in hits
    ]
    n_strong = 0
    if not verdict.is_over:
        n_strong = max((rank for rank, does in enumerate(passing, 1) if does), default=0)
    last, judged = verdict.last, list[Judged]()
    is_first = verdict.best == -math.inf
    for rank, hit in enumerate(hits):
        probability = hit.reranked
        if probability is None:
            probability = _probability(hit, verdict.threshold, best, is_first and not rank)
        last = min(last, probability)
        judged.append(Judged(last, rank >= n_strong))
    is_over = verdict.is_over or n_strong < len(hits)
    return judged, Verdict(verdict.threshold, best, last, is_over)


# A logistic, fitted to the first five hits of questions with an answer and without one in six
# libraries, and judged on questions left out; see benchmarks/results/search.md.
_OFFSET, _FIRST, _BEHIND = -3.6, 1.3, 1.3
_ABOVE, _ABOVE_OF_MEDIA = 1.4, 0.95
_OF_SOUND = 1.6


def _probability(hit: Weighed, threshold: float, best: float, is_first: bool) -> float:
    """By how far a hit stands out, how far it is behind the best, whether it is first, its kind."""
    modality = hit.candidate.segment.modality
    above = min(max(hit.value - threshold, -4.0), 6.0)
    logit = _OFFSET + (_ABOVE if modality == TEXT else _ABOVE_OF_MEDIA) * above
    logit += _FIRST * is_first - _BEHIND * min(best - hit.value, 4.0)
    logit += _OF_SOUND * (modality == AUDIO)
    return 1 / (1 + math.exp(-logit))
