"""Rows of a store as Milvus keeps them, and queries for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encoder.types import Embeddings
from search.store.base import VectorStore
from search.store.calibrated import constants_of, to_asked, to_stored
from search.store.several import partition_of

_MAX_ALIKE = 100
"""Rows that are taken out and searched for, as "more like this" does."""
_SHIFT = 1.0
"""The shift of a plain query of all kinds."""


@dataclass(frozen=True)
class Sample:
    """Rows in one list, partition by partition.

    Args:
        rows: [n, embed_dim + 1].
        parts: the partition of each.
        queries: [n_queries, embed_dim + 1] for each kind: those given, and rows taken out.
        n_stored: segments in the store.
    """

    rows: Embeddings
    parts: Sequence[str]
    queries: Sequence[Embeddings]
    n_stored: int


def drawn(store: VectorStore, asked: Embeddings, n: int) -> Sample:
    """At most about ``n`` segments, in proportion to each modality's share.

    Args:
        store: the store to sample.
        asked: unit rows [n_queries, embed_dim].
        n: the most segments.
    """
    sizes = store.sizes()
    share = min(1.0, n / max(sum(sizes.values()), 1))
    constants = store.calibration
    rows: list[Embeddings] = []
    parts: list[str] = []
    units: list[Embeddings] = []
    for modality, size in sorted(sizes.items()):
        sampled = store.sample(modality, math.ceil(share * size))
        for number in range(sampled.shape[1]):
            by = constants_of(constants, modality, number)
            rows += [to_stored(row, by) for row in sampled[:, number]]
            units += list(sampled[:, number])
            parts += [partition_of(modality, number)] * len(sampled)
    if not rows:
        return Sample(np.empty((0, asked.shape[1] + 1), np.float32), [], [], 0)
    taken = np.zeros(len(rows), bool)
    taken[:: max(len(rows) // _MAX_ALIKE, 10)] = True
    alike = to_asked(np.stack(units)[taken], _SHIFT)
    kept = [part for part, is_taken in zip(parts, taken, strict=True) if not is_taken]
    queries = [to_asked(asked, _SHIFT), alike]
    return Sample(np.stack(rows)[~taken], kept, queries, sum(sizes.values()))
