"""How much the answers of two models differ, on sampled queries."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from encoder.calibration.measure import sample_queries
from encoder.types import QUERY, TEXT, Item
from search.engine import SearchEngine
from search.query.query import Query
from search.store.base import VectorStore

if TYPE_CHECKING:
    from encoder import MultiModalEncoder

_DEPTH = 10
_WORDS = 8
_FROM_STORE = 0.5

Parts = tuple["MultiModalEncoder", VectorStore]


def _engine(encoder: MultiModalEncoder, store: VectorStore) -> SearchEngine:
    return SearchEngine(encoder.home, store, lanes=encoder.lanes)


def compare(old: Parts, new: Parts, queries: Sequence[str]) -> dict[str, Any]:
    """Ask both models.

    Returns:
        ``overlap_at_10``: the mean share of the first ten assets of either model that both find, 1
        without queries; ``same_first``: how often the first one is the same; and the ten
        ``most_different`` queries.
    """
    compared = []
    with closing(_engine(*old)) as old_engine, closing(_engine(*new)) as new_engine:
        for text in queries:
            query = Query([Item(TEXT, text, QUERY)], limit=_DEPTH)
            old_ids, new_ids = (
                [hit.asset_id for hit in engine.search(query).hits]
                for engine in (old_engine, new_engine)
            )
            n_hits = max(len(old_ids), len(new_ids))
            overlap = len(set(old_ids) & set(new_ids)) / n_hits if n_hits else 1.0
            compared.append((overlap, old_ids[:1] == new_ids[:1], text, len(old_ids), len(new_ids)))

    def mean(column: int) -> float:
        return float(np.mean([row[column] for row in compared])) if compared else 1.0

    worst = sorted(compared, key=lambda row: row[0])[:_DEPTH]
    return {
        "n_queries": len(queries),
        "overlap_at_10": round(mean(0), 4),
        "same_first": round(mean(1), 4),
        "most_different": [
            {"query": text, "overlap": round(overlap, 4), "old": n_old, "new": n_new}
            for overlap, _, text, n_old, n_new in worst
        ],
    }


def sampled(store: VectorStore, n: int) -> list[str]:
    """Queries to compare models by, the same for the same store.

    Half of them are words of the store's own texts and titles; the others are shipped, in several
    languages.
    """
    rng = random.Random(0)
    own_texts = []
    for row in store.scan():
        words = str(row.metadata.get("title") or "").split()[:_WORDS]
        if words:
            own_texts.append(" ".join(words))
        if len(own_texts) >= 20 * n:
            break
    own_texts = sorted(set(own_texts))
    chosen = rng.sample(own_texts, min(len(own_texts), int(n * _FROM_STORE)))
    shipped = [query.text for query in sample_queries()]
    return chosen + rng.sample(shipped, min(len(shipped), n - len(chosen)))
