"""Codes of half a byte per dimension: sixteen levels, compared by look-ups in register tables.

All rows of a chunk are compared, twice as fast as by bytes, and from half the memory. The
levels are those of Max, "Quantizing for minimum distortion" (1960), for normally distributed
values; the look-ups are those of André, Kermarrec and Le Scouarnec, "Cache locality is not
enough" (2015), by faiss.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.types import Embeddings
from search.store.embedded.vectors.disk import keep_index, opened_index

_N_LEVELS = 16
_STEP = 0.3352
"""The distance between two levels, in standard deviations."""
_LEAST_STEP = 1e-4
"""For a dimension in which all rows are equal: faiss divides by the total span of the levels."""
_N_TRIED, _N_NEAREST, _N_ASKED = 32, 10, 94
"""Queries, and the most rows that are ranked by their floats for ten hits."""
_LEAST_RECALL = 0.99


class Nibbles:
    """Codes [n, embed_dim] of complete rows."""

    SUFFIX = "nibbles"

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def of(cls, rows: Embeddings) -> Nibbles:
        import faiss

        dim = rows.shape[1]
        steps = np.maximum(_STEP * rows.std(axis=0), _LEAST_STEP)
        lowest = rows.mean(axis=0) - _N_LEVELS / 2 * steps
        codes = ((rows - lowest) / steps).clip(0, _N_LEVELS - 1).astype(np.uint8)
        packed: Any = faiss.IndexPQ(dim, dim, 4, faiss.METRIC_INNER_PRODUCT)
        levels = lowest[:, None] + (np.arange(_N_LEVELS) + 0.5) * steps[:, None]
        faiss.copy_array_to_vector(levels.astype(np.float32).ravel(), packed.pq.centroids)
        faiss.copy_array_to_vector(_in_pairs(codes).ravel(), packed.codes)
        packed.ntotal, packed.is_trained = len(rows), True
        return cls(faiss.IndexPQFastScan(packed))

    @classmethod
    def opened(cls, path: Path, n_rows: int) -> Nibbles | None:
        """The codes in a file, read into memory; None if missing or of a different length."""
        index = opened_index(path, n_rows)
        return cls(index) if index is not None else None

    def keep(self, path: Path) -> None:
        """Write the file atomically; others may do the same at once.

        Raises:
            OSError: it could not be written.
        """
        keep_index(path, self._index)

    def finds_nearest(self, rows: Embeddings) -> bool:
        """Whether a sample of the rows find their nearest rows among the best by these codes.

        A dimension far wider than the others, or thousands of them, leave the tables of 8 bits too
        little precision to order rows.

        Args:
            rows: those that are coded, float32 [n, embed_dim].
        """
        queries = rows[:: -(-len(rows) // _N_TRIED)]
        n_asked, n = min(_N_ASKED, len(rows)), min(_N_NEAREST, len(rows))
        nearest = np.argpartition(-(queries @ rows.T), n - 1, axis=1)[:, :n]
        _, found = self._index.search(queries, n_asked)
        hits = [np.isin(wanted, best) for wanted, best in zip(nearest, found, strict=True)]
        return bool(np.mean(hits) >= _LEAST_RECALL)

    def nearest(
        self,
        queries: Embeddings,
        wanted: NDArray[np.bool_] | None,
        products: NDArray[np.float32],
        places: NDArray[np.int64],
    ) -> None:
        """Fill in products and places [n, limit] of about the best; -1 where there are no more.

        Args:
            queries: unit rows [n, embed_dim].
            wanted: which of the rows; None for all. As many more are searched for as are unwanted.
            products: about the cosines.
            places: of the rows.
        """
        if wanted is None:
            self._index.search(queries, products.shape[1], D=products, I=places)
            return
        limit = products.shape[1]
        n_asked = min(limit + int(np.count_nonzero(~wanted)), self._index.ntotal)
        found = self._index.search(queries, n_asked)
        places[:] = -1
        for query, (of_query, at) in enumerate(zip(*found, strict=True)):
            kept = np.flatnonzero((at >= 0) & wanted[at])[:limit]
            products[query, : len(kept)], places[query, : len(kept)] = of_query[kept], at[kept]


def _in_pairs(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[n, embed_dim] to [n, embed_dim / 2], rounded up: the first of a pair in the lower bits."""
    even = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    return np.bitwise_or(even[:, ::2], np.left_shift(even[:, 1::2], 4), dtype=np.uint8)
