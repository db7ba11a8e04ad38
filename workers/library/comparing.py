"""How much the answers of two models differ, on sampled queries."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from encoder.types import QUERY, TEXT, Item
from search.query.query import Query
from search.query.terms import ItemEncoder
from search.store.base import VectorStore

_DEPTH = 10
_WORDS = 8
_FROM_STORE = 0.5

Find = Callable[[Query], Sequence[str]]
"""The ids of the assets that a query finds, best first."""


@dataclass(frozen=True)
class Compared:
    """One query.

    Args:
        query: its text.
        overlap: of the first ten assets that either model finds, the share that both find.
        same_first: whether the first hit is the same.
        n_old: how many the old model finds, ten at most.
        n_new: the new one.
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
        return float(np.mean([one.overlap for one in self.queries])) if self.queries else 1.0

    def as_json(self) -> dict[str, object]:
        """The means, and the queries whose answers differ most."""
        worst = sorted(self.queries, key=lambda one: one.overlap)[:_DEPTH]
        first = [one.same_first for one in self.queries]
        return {
            "n_queries": len(self.queries),
            "overlap_at_10": round(self.overlap, 4),
            "same_first": round(float(np.mean(first)), 4) if first else 1.0,
            "most_different": [
                {
                    "query": one.query,
                    "overlap": round(one.overlap, 4),
                    "old": one.n_old,
                    "new": one.n_new,
                }
                for one in worst
            ],
        }


def compare(old: Find, new: Find, queries: Sequence[str]) -> Comparison:
    """Ask both models."""
    found = []
    for text in queries:
        query = Query([Item(TEXT, text, QUERY)], limit=_DEPTH)
        before, after = list(old(query)), list(new(query))
        both = len(set(before) & set(after))
        most = max(len(before), len(after))
        overlap = both / most if most else 1.0
        same = before[:1] == after[:1]
        found.append(Compared(text, overlap, same, len(before), len(after)))
    return Comparison(found)


def sampled(store: VectorStore, n: int) -> list[str]:
    """Queries to compare models by, the same for the same store.

    Half of them are words of the store's own texts and titles; the others are shipped, in several
    languages.
    """
    from encoder.calibration.queries import sample_queries

    rng = random.Random(0)
    own = []
    for row in store.scan():
        words = str(row.metadata.get("title") or "").split()[:_WORDS]
        if words:
            own.append(" ".join(words))
        if len(own) >= 20 * n:
            break
    own = sorted(set(own))
    kept = rng.sample(own, min(len(own), int(n * _FROM_STORE)))
    shipped = [query.text for query in sample_queries()]
    return kept + rng.sample(shipped, min(len(shipped), n - len(kept)))


def finder(encoder: ItemEncoder, store: VectorStore) -> tuple[Find, Callable[[], None]]:
    """A function that searches a store with a model, and one that ends it."""
    from search.engine import SearchEngine

    engine = SearchEngine(encoder, store)

    def find(query: Query) -> list[str]:
        return [hit.asset_id for hit in engine.search(query).hits]

    return find, engine.close
