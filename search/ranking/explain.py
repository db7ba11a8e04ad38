"""Says how a score came about. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from encoder.types import Embeddings, Modality
from search.query.query import Term
from search.ranking.fusion import fuse_terms, score_segments
from search.ranking.grouping import Group
from search.ranking.request import Request
from search.store.calibrated import plain
from search.types import Explanation, TermScore


def explain_hit(
    group: Group,
    rank: int,
    embedding: Embeddings,
    request: Request,
) -> Explanation:
    """How a candidate got its place.

    Args:
        group: the hit.
        rank: its place in the whole ranking, from 1.
        embedding: the row by which its segment was found, float32 [embed_dim], of unit length.
        request: the encoded query.
    """
    candidate = group.best
    modality, row = candidate.segment.modality, candidate.segment.row
    lane, space, terms = request.lanes[modality], request.space, request.query.terms
    term_embeddings, fused = lane.term_embeddings, lane.fused
    cosines = (term_embeddings @ embedding).astype(np.float64)
    query_embeddings, levels = term_embeddings, np.ones(len(terms))
    if fused.is_centred:
        query_embeddings, levels = lane.space.asked(term_embeddings)
    by = space.calibration_of(modality).of_row(row)
    scores = by.apply((query_embeddings @ embedding).astype(np.float64), levels)
    match = candidate.match
    compared = candidate.segment._replace(cosine=float(fused.direction @ embedding))
    return Explanation(
        terms=[
            TermScore(index, _kind(term), term.weight, float(cosines[index]), float(scores[index]))
            for index, term in enumerate(terms)
        ],
        cosine=float(fuse_terms(term_embeddings, [t.weight for t in terms]).direction @ embedding),
        dense_score=score_segments(modality, [compared], fused, space)[0].dense_score,
        dense_rank=candidate.dense_rank,
        lexical_score=match.bm25 if match else None,
        lexical_rank=match.rank if match else None,
        words_held=match.share if match else 0.0,
        dense=candidate.dense,
        words=candidate.words,
        named=candidate.named,
        evidence=candidate.evidence,
        prior=candidate.prior,
        value=group.value,
        score=candidate.score,
        rank=rank,
        row=row,
    )


def explain_query(request: Request, n_seen: Mapping[Modality, int]) -> dict[str, Any]:
    """What a query became, as plain values.

    Args:
        request: the encoded query.
        n_seen: how many segments of each modality were looked at.
    """
    return {
        "words": request.words.text,
        "threshold": request.verdict.threshold if request.verdict else None,
        "terms": [
            {"term": index, "modality": _kind(term), "weight": float(term.weight)}
            for index, term in enumerate(request.query.terms)
        ],
        "modalities": {
            str(modality): {
                "candidates": n_seen.get(modality, 0),
                "level": request.levels.get(modality),
                **({"model": model} if (model := request.lanes[modality].model) else {}),
                **plain(request.space.calibration_of(modality)),
            }
            for modality in request.plan.modalities
        },
    }


def _kind(term: Term) -> str:
    return str(term.item.modality) if term.item else "asset"
