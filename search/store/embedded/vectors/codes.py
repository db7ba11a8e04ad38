"""Codes for rows of vectors: an int8 per dimension, with a scale for each dimension, by faiss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.types import Embeddings
from search.store.embedded.vectors.disk import keep_index, opened_index, replacing, seal, unsealed

CHUNK = 8192
"""Rows per file of codes."""
_CODES = 127


class Codes:
    """Codes [n, embed_dim] of complete rows, and the scale of each dimension."""

    SUFFIX = "codes"

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
        """The codes in a file, mapped into memory; None if missing or of a different length."""
        import faiss

        index = opened_index(path, n_rows, faiss.IO_FLAG_MMAP_IFC)
        if index is None:
            return None
        scales = np.frombuffer(unsealed(_scales_path(path)) or b"", np.float32)
        return cls(index, scales) if len(scales) == index.d else None

    def keep(self, path: Path) -> None:
        """Write the file atomically; others may do the same at once.

        Raises:
            OSError: it could not be written.
        """
        with replacing(_scales_path(path)) as partial:
            self.scales.tofile(partial)
            seal(partial)
        keep_index(path, self._index)

    def nearest(
        self,
        asked: Embeddings,
        wanted: NDArray[np.bool_] | None,
        products: NDArray[np.float32],
        places: NDArray[np.int64],
    ) -> None:
        """Fill in products and places [n, limit] of about the best; -1 where there are no more.

        Args:
            asked: queries times `scales`, in whole numbers.
            wanted: which of the rows; None for all.
            products: the inner products with those numbers.
            places: of the rows.
        """
        import faiss

        params = None
        if wanted is not None:
            bits = np.packbits(wanted, bitorder="little")
            chosen = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]
            params = faiss.SearchParameters(sel=chosen)  # type: ignore[call-arg]
        self._index.search(asked, products.shape[1], params=params, D=products, I=places)


def in_whole_numbers(queries: Embeddings, scales: Sequence[Embeddings]) -> tuple[Any, Any]:
    """Queries times the scales of codes, and the step of each: [n_scales, n, embed_dim or 1].

    Faiss truncates what it compares with these codes to whole numbers.
    """
    asked = queries * np.stack(scales)[:, None]
    steps = np.maximum(np.abs(asked).max(axis=2, keepdims=True) / _CODES, 1e-30)
    return np.rint(asked / steps, dtype=np.float32), steps


def _scales_path(path: Path) -> Path:
    return path.with_suffix(".scales")
