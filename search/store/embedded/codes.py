"""Codes of one byte for rows of vectors: int8, with a scale for each dimension, by faiss."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.types import Embeddings

_CODES = 127


class Scored(NamedTuple):
    """Scores and slots [..., limit] of each query; -1 where there are no more."""

    scores: NDArray[np.float32]
    slots: NDArray[np.int64]


class Codes:
    """Codes [n, embed_dim] of complete rows, and the scale of each dimension."""

    def __init__(self, index: Any, scales: Embeddings) -> None:
        self._index = index
        self.scales = scales

    @classmethod
    def of(cls, rows: Embeddings) -> Codes:
        import faiss

        scales = np.maximum(np.abs(rows).max(axis=0) / _CODES, 1e-30).astype(np.float32)
        index = faiss.IndexScalarQuantizer(
            rows.shape[1],
            faiss.ScalarQuantizer.QT_8bit_direct_signed,
            faiss.METRIC_INNER_PRODUCT,
        )
        index.add(np.rint(rows / scales))
        return cls(index, scales)

    @classmethod
    def opened(cls, path: Path, n_rows: int) -> Codes | None:
        """Those of a file, mapped into memory; None if it is missing or has not so many."""
        import faiss

        scales_path = path.with_suffix(".scales")
        if not path.exists():
            return None
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
            scales = np.fromfile(scales_path, np.float32)
        except (RuntimeError, OSError):
            return None
        is_whole = index.ntotal == n_rows and index.d == len(scales)
        return cls(index, scales) if is_whole else None

    def keep(self, path: Path) -> None:
        """Write the file, whole or not at all; others may do the same at once."""
        import faiss

        partial = path.with_suffix(f".{os.getpid()}")
        scales = path.with_suffix(".scales")
        self.scales.tofile(partial)
        partial.replace(scales)
        faiss.write_index(self._index, str(partial))
        partial.replace(path)

    def nearest(
        self,
        asked: Embeddings,
        wanted: NDArray[np.bool_] | None,
        products: NDArray[np.float32],
        places: NDArray[np.int64],
    ) -> None:
        """About the best: products and places [n, limit] are filled in; -1 where there are no more.

        Args:
            asked: queries times `scales`, in whole numbers.
            wanted: which of the rows; None for all.
            products: with those numbers.
            places: of the rows.
        """
        import faiss

        params = None
        if wanted is not None:
            bits = np.packbits(wanted, bitorder="little")
            chosen = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]
            params = faiss.SearchParameters(sel=chosen)  # type: ignore[call-arg]
        self._index.search(asked, products.shape[1], params=params, D=products, I=places)


class Chunk(NamedTuple):
    """Rows with codes, from a slot on.

    Args:
        start: the slot.
        codes: of the rows.
        wanted: which of them; None for all.
    """

    start: int
    codes: Codes
    wanted: NDArray[np.bool_] | None


def in_chunks(queries: Embeddings, limit: int, chunks: Sequence[Chunk]) -> Scored:
    """About the best of each chunk for each query [n, embed_dim]: [n_chunks, n, limit].

    What the queries are compared with is computed for all chunks at once: of a million rows there
    are 122, and a call of numpy for each takes as long as a fifth of its comparisons.
    """
    shape = len(chunks), len(queries), limit
    products, places = np.empty(shape, np.float32), np.empty(shape, np.int64)
    if not chunks:
        return Scored(products, places)
    asked = queries * np.stack([one.codes.scales for one in chunks])[:, None]
    # Faiss cuts what it compares with these codes to whole numbers.
    steps = np.maximum(np.abs(asked).max(axis=2, keepdims=True) / _CODES, 1e-30)
    asked = np.rint(asked / steps, dtype=np.float32)
    for at, one in enumerate(chunks):
        one.codes.nearest(asked[at], one.wanted, products[at], places[at])
    starts = np.array([one.start for one in chunks])[:, None, None]
    return Scored(products * steps, np.where(places < 0, -1, places + starts))
