"""Says how a score came about. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from encoder.space import Space
from encoder.types import Embeddings, Modality
from search.query.planner import QueryPlan
from search.query.query import Query, Term
from search.ranking.fusion import FusedQuery, RankedSegment, WordsWeight, fuse_terms, score_cosines
from search.store.calibrated import plain
from search.types import Explanation, TermScore


def explain_hit(
    candidate: RankedSegment,
    rank: int,
    embedding: Embeddings,
    terms: Sequence[Term],
    term_embeddings: Embeddings,
    fused: FusedQuery,
    space: Space,
) -> Explanation:
    """How a candidate got its place.

    Args:
        candidate: the hit's segment and what is known of its score.
        rank: its place in the whole ranking, from 1.
        embedding: the row by which its segment was found, float32 [embed_dim], of unit length.
        terms: of the query.
        term_embeddings: unit rows [len(terms), embed_dim].
        fused: all terms in one.
        space: has the calibration.
    """
    modality, row = candidate.segment.modality, candidate.segment.row
    cosines = (term_embeddings @ embedding).astype(np.float64)
    asked = space.asked(term_embeddings) if fused.is_centred else term_embeddings
    levels = space.level(asked) if fused.is_centred else np.ones(len(asked))
    by = space.calibration_of(modality).of_row(row)
    scores = by.apply((asked @ embedding).astype(np.float64), levels)
    compared = float(fused.direction @ embedding)
    return Explanation(
        terms=[
            TermScore(index, _kind(term), term.weight, float(cosines[index]), float(scores[index]))
            for index, term in enumerate(terms)
        ],
        cosine=float(fuse_terms(term_embeddings, [t.weight for t in terms]).direction @ embedding),
        dense_score=float(score_cosines(modality, np.array([compared]), fused, space, row)[0]),
        dense_rank=candidate.dense_rank,
        lexical_score=candidate.lexical_score,
        lexical_rank=candidate.lexical_rank,
        dense=candidate.dense,
        words=candidate.words,
        named=candidate.named,
        evidence=candidate.evidence,
        prior=candidate.prior,
        score=candidate.score,
        rank=rank,
        row=row,
    )


def explain_query(
    query: Query,
    plan: QueryPlan,
    space: Space,
    n_found: Mapping[Modality, int],
    words: str,
    weights: Mapping[Modality, WordsWeight],
) -> dict[str, Any]:
    """What a query became, as plain values.

    Args:
        query: as it was asked.
        plan: as it was understood.
        space: its calibration is listed.
        n_found: how many segments of each modality were looked at.
        words: what BM25 looked for; empty if it did not.
        weights: of the words, where they found segments.
    """
    return {
        "words": words,
        "terms": [
            {"term": index, "modality": _kind(term), "weight": float(term.weight)}
            for index, term in enumerate(query.terms)
        ],
        "modalities": {
            str(modality): {
                "candidates": n_found.get(modality, 0),
                **plain(space.calibration_of(modality)),
                **_words_of(weights.get(modality)),
            }
            for modality in plan.modalities
        },
    }


def _words_of(weight: WordsWeight | None) -> dict[str, float]:
    return {"words_gain": weight.gain, "words_best": weight.best} if weight else {}


def _kind(term: Term) -> str:
    return str(term.item.modality) if term.item else "asset"
