"""Measurements of indexes, and what follows from them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.types import Embeddings

TOP = 10
LEAST_RECALL = 0.99
_SAME_SPEED = 1.25
"""Below this ratio, two median latencies count as equal."""
_TIE = 1e-5
_ROWS_PER_PRODUCT = 16_384

Ids: TypeAlias = Sequence[int]


@dataclass(frozen=True)
class Trial:
    """An index with a number of candidates.

    Args:
        index: as ``ANYMODAL_STORE__INDEX`` names it.
        candidates: how many a search looked at; 0 for all.
        recall: the share of the exact nearest `TOP` that was found, for the worse kind of queries.
        p50_ms, p95_ms: latencies of searches that are run one after the other.
        row_bytes: what the index keeps in memory per row, calculated from its format.
        built_s: the time until rows were written and indexed; 0 if nothing was built.
    """

    index: str
    candidates: int
    recall: float
    p50_ms: float
    p95_ms: float
    row_bytes: float
    built_s: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether it finds enough."""
        return self.recall >= LEAST_RECALL


@dataclass(frozen=True)
class Tuned:
    """What was measured for a store.

    Args:
        store: its name, without password.
        version: Milvus's; empty for a folder.
        n_rows: how many rows were compared.
        n_stored: how many segments the store has.
        trials: for each index, the one with the fewest candidates that is good, or the last.
        refused: for indexes that the server does not build, its message.
        unsealed: recall of rows that were just written, which no index has yet; None if unknown.
        settings: what is proposed, by the names of variables; empty if nothing fits.
        notes: what else there is to know, for people.
    """

    store: str
    version: str
    n_rows: int
    n_stored: int
    trials: Sequence[Trial]
    refused: dict[str, str]
    unsealed: float | None
    settings: dict[str, str]
    notes: Sequence[str]


class Exact:
    """The exact nearest rows of queries, against which an index is judged.

    Args:
        rows: [n, dim], as they are stored.
        kinds: queries [n_queries, dim] of each kind.
    """

    def __init__(self, rows: Embeddings, kinds: Sequence[Embeddings]) -> None:
        self._rows = rows
        self.kinds = [(queries, _least(rows, queries)) for queries in kinds if len(queries)]

    def recall(self, search: Callable[[Embeddings], Ids]) -> float:
        """The recall for the worst kind of queries; ``search`` returns the places of rows."""
        return min(self._of_kind(*kind, search) for kind in self.kinds)

    def _of_kind(
        self,
        queries: Embeddings,
        least: NDArray[np.float32],
        search: Callable[[Embeddings], Ids],
    ) -> float:
        shares = []
        for query, low in zip(queries, least, strict=True):
            found = self._rows[list(search(query))] @ query
            shares.append(np.count_nonzero(found >= low - _TIE * max(abs(low), 1.0)))
        return float(np.mean(shares)) / min(TOP, len(self._rows))


def _least(rows: Embeddings, queries: Embeddings) -> NDArray[np.float32]:
    """The product of each query's `TOP`-th nearest row."""
    best = np.full((len(queries), TOP), -np.inf, np.float32)
    for start in range(0, len(rows), _ROWS_PER_PRODUCT):
        products = queries @ rows[start : start + _ROWS_PER_PRODUCT].T
        best = np.sort(np.concatenate([best, products], axis=1), axis=1)[:, -TOP:]
    least: NDArray[np.float32] = best[:, -min(TOP, len(rows))]
    return least


def chosen(trials: Sequence[Trial], n_stored: int, memory_bytes: float | None) -> Trial | None:
    """The first that is about as fast as the fastest, of those that find enough and fit in memory.

    Args:
        trials: in the order in which they are preferred.
        n_stored: rows of the store.
        memory_bytes: the most that the index may take; None for any.
    """
    fit = [
        one
        for one in trials
        if one.is_good and (memory_bytes is None or one.row_bytes * n_stored <= memory_bytes)
    ]
    fastest_ms = min((one.p50_ms for one in fit), default=0.0)
    return next((one for one in fit if one.p50_ms <= _SAME_SPEED * fastest_ms), None)
