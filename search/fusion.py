"""Fuses query embeddings into one, and lists of several modalities into one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from encoder.errors import InputError
from encoder.space import Space, l2_normalize
from encoder.types import Embeddings, Modality
from search.types import ScoredSegment


@dataclass(frozen=True)
class Candidate:
    """A segment with its calibrated score, which compares across modalities."""

    segment: ScoredSegment
    score: float


def fuse_queries(embeddings: Embeddings, weights: Sequence[float] | None = None) -> Embeddings:
    """The direction between several queries: L2 of the weighted mean of their unit rows.

    Args:
        embeddings: [n, embed_dim].
        weights: one per row; all alike if None. Negative ones push away.

    Returns:
        float32 [embed_dim], of unit length.

    Raises:
        InputError: the rows cancel each other out, or the weights do not match.
    """
    shares = np.ones(len(embeddings)) if weights is None else np.asarray(weights, np.float64)
    if shares.shape != (len(embeddings),):
        raise InputError(
            "weights", got=f"shape {shares.shape}", wanted=f"one per item, ({len(embeddings)},)"
        )
    mixed = shares @ l2_normalize(embeddings).astype(np.float64)
    if np.linalg.norm(mixed) < 1e-6 * max(1.0, float(np.abs(shares).sum())):
        raise InputError(
            "query.items", got="items that cancel each other out", wanted="a direction to search in"
        )
    return l2_normalize(mixed)


def rank(found: Mapping[Modality, Sequence[ScoredSegment]], space: Space) -> list[Candidate]:
    """One list from those of the modalities: calibrated scores, best first, ties by segment id."""
    candidates: list[Candidate] = []
    for modality, segments in found.items():
        cosines = np.array([segment.cosine for segment in segments], np.float64)
        scores = space.calibrate(modality, cosines).tolist()
        candidates += map(Candidate, segments, scores)
    return sorted(candidates, key=lambda c: (-c.score, c.segment.segment_id))
