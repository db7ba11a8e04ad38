"""Text in pictures by PP-OCRv5 (Cui et al. 2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder.models.sources.bundle.kinds.base import Kind, Opening

if TYPE_CHECKING:
    from encoder.ocr.open import LazyReader


def _open(opening: Opening) -> LazyReader:
    from encoder.ocr.open import LazyReader

    return LazyReader(opening.folder, opening.n_threads)


KIND = Kind(
    open=_open,
    prepare="encoder.models.prepare.bundle.ocr_graphs:prepare_ocr",
    makes_vectors=False,
)
