"""How much the answers of two models differ, on sampled queries."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encoder.calibration.queries import sample_queries
from encoder.types import QUERY, TEXT, Item
from search.engine import SearchEngine
from search.query.query import Query
from search.store.base import VectorStore

_DEPTH = 10
_WORDS = 8
_FROM_STORE = 0.5


@dataclass(frozen=True)
class Compared:
    """One query.

    Args:
        overlap: of the first ten assets that either model finds, the share that both find.
        same_first: whether the first hit is the same.
    """

    query: str
    overlap: float
    same_first: bool
    n_old: int
    n_new: int


@dataclass(frozen=True)
class Comparison:
    """The comparison over all queries."""

    queries: Sequence[Compared]

    @property
    def overlap(self) -> float:
        """The mean overlap of the queries; 1 if there are none."""
        return float(np.mean([query.overlap for query in self.queries])) if self.queries else 1.0

    def as_json(self) -> dict[str, object]:
        """The means, and the queries whose answers differ most."""
        worst = sorted(self.queries, key=lambda query: query.overlap)[:_DEPTH]
        first = [query.same_first for query in self.queries]
        return {
            "n_queries": len(self.queries),
            "overlap_at_10": round(self.overlap, 4),
            "same_first": round(float(np.mean(first)), 4) if first else 1.0,
            "most_different": [
                {
                    "query": query.query,
                    "overlap": round(query.overlap, 4),
                    "old": query.n_old,
                    "new": query.n_new,
                }
                for query in worst
            ],
        }


def compare(old: SearchEngine, new: SearchEngine, queries: Sequence[str]) -> Comparison:
    """Search with both models."""
    compared = []
    for text in queries:
        query = Query([Item(TEXT, text, QUERY)], limit=_DEPTH)
        former_hits, after = (
            [hit.asset_id for hit in engine.search(query).hits] for engine in (old, new)
        )
        n_shared = len(set(former_hits) & set(after))
        n_hits = max(len(former_hits), len(after))
        overlap = n_shared / n_hits if n_hits else 1.0
        same = former_hits[:1] == after[:1]
        compared.append(Compared(text, overlap, same, len(former_hits), len(after)))
    return Comparison(compared)


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
