"""Fuses the terms of a query into one vector, and lists of several modalities into one. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError
from encoder.space import UNCALIBRATED, Space, l2_normalize
from encoder.types import TEXT, Embeddings, Modality
from search.query.word_search import WordMatch
from search.store.several import IDENTICAL, scores_of, shifted
from search.types import ScoredSegment

_GAIN = 4.0
"""What a passage gains that holds all words of a query."""
_LEAST_GAIN = 0.3
_DOUBT = 3.0
"""What the score of a text is reduced by that is no language at all."""
_LEAST_SHARE = 0.4
"""Of the signs of a text: with fewer letters of words, it is doubted."""
_LEAST_BYTES = 40
"""Of letters, in a text that was recognised."""
_LOOKED_AT_CHARS = 200
# Scripts without spaces, and those whose vowels are marks, which are no letters to `re`.
_RUNS = "\u0900-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_LETTER = rf"[^\W\d_{_RUNS}]"
_WORD = re.compile(rf"(?<!{_LETTER}){_LETTER}{{2,40}}(?!{_LETTER})|[{_RUNS}]+")


def content_of(text: str) -> str:
    """What is equal in texts that say the same.

    >>> content_of("The ferry\\n leaves.") == content_of("the ferry leaves.")
    True
    """
    return " ".join(text.split()).casefold()


@dataclass(frozen=True, eq=False)
class FusedQuery:
    """All terms of a query in one vector, so that one search ranks by all of them together.

    Args:
        direction: of unit length, float32 [embed_dim]; the store is searched with it.
        length: of the vector before it was scaled to unit length.
        weight: what the levels of modalities are multiplied by: 1, less the weights of the
            negative terms, or as `encoder.space.Space.asked` says.
        identical: the cosine of content that is identical to the query, where tokens of neither
            were merged.
        content: see `content_of`, of the one text that the query is, encoded as stored ones are.
    """

    direction: Embeddings
    length: float = 1.0
    weight: float = 1.0
    identical: float = 1.0
    content: str = ""

    @property
    def shift(self) -> float:
        """Scores rank as ``(cosine - shift * mu) / c`` does: see `score_segments`."""
        return self.weight / self.length

    @property
    def is_centred(self) -> bool:
        """Whether `centred` moved it."""
        return self.identical != 1.0

    def centred(self, space: Space) -> FusedQuery:
        """The same query as rows of ``space`` are compared with it if it is a text."""
        if not space.share:
            return self
        vector, weight = space.asked(self.direction * self.length, self.weight)
        length = max(float(np.linalg.norm(vector)), 1e-6)
        direction = (vector / length).astype(np.float32)
        identical = float(direction @ self.direction)
        return FusedQuery(direction, length, float(weight), identical, self.content)

    def is_identical(self, segment: ScoredSegment) -> bool:
        """Whether a segment holds what the query is, in which only one may have merged tokens."""
        if self.content and self.content == content_of(segment.snippet):
            return True
        return abs(segment.cosine - self.identical) <= 1 - IDENTICAL


class RankedSegment(NamedTuple):
    """A segment with the summands of its score, which compares across modalities.

    Args:
        segment: with its raw cosine to the fused query.
        dense: the calibrated score of its cosine, less the doubt about its words.
        words: what is added for words of the query in its text.
        named: what is added for words of the query in its asset's names.
        evidence: what is added for a date or a place of the query.
        prior: what is added for a kind of file that the query names.
        dense_score: the calibrated score of its cosine, without doubt.
        dense_rank: its place by vectors within its modality, from 1; None if only words found it.
        match: what words of the query say of it, if any were found in it.
        name_part: the fraction of the query that its asset's names hold, 0 to 1.
        is_identical: whether its content is the query's; it gets in full whatever any other
            segment gets.
    """

    segment: ScoredSegment
    dense: float
    words: float = 0.0
    named: float = 0.0
    evidence: float = 0.0
    prior: float = 0.0
    dense_score: float = 0.0
    dense_rank: int | None = None
    match: WordMatch | None = None
    name_part: float = 0.0
    is_identical: bool = False

    @property
    def score(self) -> float:
        """What it is ranked by: the sum."""
        return self.dense + self.words + self.named + self.evidence + self.prior


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


def identical_is_above(score: float, modality: Modality, query: FusedQuery, space: Space) -> bool:
    """Whether a list that ends at ``score`` holds any segment that is identical to the query.

    The list is ranked by calibrated cosines, and the segment is of this modality.
    """
    highest = query.length * query.identical
    rows = space.calibration_of(modality).rows
    return min((highest - query.weight * row.mu) / row.c for row in rows) > score


def score_segments(
    modality: Modality, segments: Sequence[ScoredSegment], query: FusedQuery, space: Space
) -> list[RankedSegment]:
    """The segments of one modality with their scores, which compare across modalities, best first.

    For a query without negative terms, a score is the calibrated cosine. A negative term subtracts
    its weight times *its* calibrated cosine: if the difference were calibrated like a cosine, each
    modality's list would shift by a different amount.

    Content identical to the query gets the highest score that any modality has, so that it ranks
    first in a mixed list too.
    """
    counted: list[tuple[float, float, bool, ScoredSegment]] = []
    # That of a cosine of 1, in the modality where it is the highest.
    constants = (UNCALIBRATED, *space.calibration.values())
    highest = max((1 - row.mu) / row.c for by in constants for row in (by, *by.further))
    scores = scores_of(segments, shifted(space.calibration_of(modality), query.shift))
    for segment, score in zip(segments, scores, strict=True):
        is_identical = query.is_identical(segment)
        score = highest if is_identical else query.length * score
        counted.append((doubted(score, segment), score, is_identical, segment))
    counted.sort(key=lambda candidate: (-candidate[0], candidate[3].segment_id))
    return [
        RankedSegment(
            segment, counts, dense_score=score, dense_rank=rank, is_identical=is_identical
        )
        for rank, (counts, score, is_identical, segment) in enumerate(counted, 1)
    ]


def doubted(score: float, segment: ScoredSegment) -> float:
    """The score of a segment, reduced by the doubt about its words.

    The vector of a text that is no language, as a drawing in letters or mashed keys, is near any
    question, and that of a line read in a picture or heard that says next to nothing, as "OK" or
    "12:30", near any short one.
    """
    if segment.modality == TEXT and segment.snippet:
        share, n_bytes = _language_in(segment.snippet)
        doubt = max(0.0, 1 - share / _LEAST_SHARE)
        if segment.boxes or segment.start_s is not None:
            doubt = max(doubt, 1 - n_bytes / _LEAST_BYTES)
        score -= _DOUBT * doubt
    return score * segment.confidence if score > 0 else score


@lru_cache(8192)  # the same texts are near many questions
def _language_in(text: str) -> tuple[float, int]:
    """Which share of the signs a text begins with is letters of words, and their bytes.

    A Chinese character, of three bytes, counts as three.

    >>> [_language_in(text)[1] for text in ("12:30 OK", "北京火车站", "K V L B", "M" * 50)]
    [2, 15, 0, 0]
    """
    beginning = text[:_LOOKED_AT_CHARS]
    words = _WORD.findall(beginning)
    n_signs = len("".join(beginning.split()))
    return sum(map(len, words)) / max(n_signs, 1), sum(len(word.encode()) for word in words)


def rank(candidates: Iterable[RankedSegment]) -> list[RankedSegment]:
    """Best first, ties by segment id."""
    return sorted(candidates, key=lambda c: (-c.score, c.segment.segment_id))


def words_gain(share: float) -> float:
    """What words of the query add to the score of a segment that holds this share of them.

    They are weighed by their rarity, so that few common words of a question hardly count, and a
    rare one that stands alone counts in full.
    """
    return max(_LEAST_GAIN * share, _GAIN * share**3)


def with_words(
    candidates: Sequence[RankedSegment], matches: Mapping[str, WordMatch]
) -> list[RankedSegment]:
    """Add what words of the query are worth, in the order of ``candidates``.

    The score is a sum of both, as a convex combination is (Bruch, Gai and Ingber, TOIS 2023).

    Args:
        candidates: scored.
        matches: by segment id.
    """
    return [
        candidate._replace(words=words_gain(match.share), match=match)
        if (match := matches.get(candidate.segment.segment_id))
        else candidate
        for candidate in candidates
    ]


PRIOR = 0.6
"""What a file of a kind that the query names gains."""
LEAST_PART = 0.3
"""Names that hold a smaller part of a query are ignored."""
WHOLE = 0.9
"""Names that hold this part hold the query, perhaps with a wrong letter."""
_NAMED, _NAMED_WHOLE = 3.0, 8.0


def with_names(
    candidates: Sequence[RankedSegment], parts: Mapping[str, float]
) -> list[RankedSegment]:
    """Add what the names of assets are worth, over all modalities.

    A part of the query adds its cube, so that two words of four hardly count; the whole query adds
    more than any segment has without it. In each modality, it is added to the best segment of
    an asset.

    Args:
        candidates: scored, best first; those of all assets in ``parts`` are among them.
        parts: by asset, 0 to 1.
    """
    is_named = set[tuple[str, Modality]]()
    added = []
    for candidate in candidates:
        segment = candidate.segment
        part, key = parts.get(segment.asset_id, 0.0), (segment.asset_id, segment.modality)
        if part and key not in is_named:
            is_named.add(key)
            named = _NAMED * part**3 + _NAMED_WHOLE * (part >= WHOLE)
            candidate = candidate._replace(named=named, name_part=part)
        added.append(candidate)
    return added


def with_all_of_identical(candidates: Sequence[RankedSegment]) -> list[RankedSegment]:
    """Give content identical to the query all that others get, so that it stays in front."""
    if not any(candidate.is_identical for candidate in candidates):
        return list(candidates)
    greatest = {
        name: max(getattr(candidate, name) for candidate in candidates)
        for name in ("words", "named", "evidence", "prior")
    }
    return [
        candidate._replace(**greatest) if candidate.is_identical else candidate
        for candidate in candidates
    ]
