"""Make PP-OCR's networks ready to serve: with their scales and shifts folded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from encoder.errors import ModelError
from encoder.ocr.open import DETECTOR, RECOGNIZER, SOURCE, TURN_CLASSIFIER

_NOISE = {DETECTOR: (1, 3, 96, 160), RECOGNIZER: (1, 3, 48, 160), TURN_CLASSIFIER: (2, 3, 48, 192)}
"""What the folded networks are tried on."""

_TOLERANCE = 1e-3
"""The most that a probability may change; 2e-6 was measured."""


def prepare_ocr(folder: Path) -> None:
    """Replace the networks that were unpacked by what serving runs.

    Raises:
        ModelError: a network gives other results than it did.
    """
    import onnx

    from encoder.graphs.affine import fold_affine

    for name, shape in _NOISE.items():
        source, target = folder / (SOURCE + name), folder / name
        model = onnx.load(source)
        fold_affine(model)
        onnx.save(model, target)
        _check(source, target, shape)


def _check(source: Path, target: Path, shape: tuple[int, ...]) -> None:
    from encoder.runtime.onnx import OnnxSession

    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    before, after = (OnnxSession(path).run({"x": noise})[0] for path in (source, target))
    difference = float(np.abs(before - after).max())
    if not difference <= _TOLERANCE:
        raise ModelError(
            f"{target.name} differs from the network that was unpacked by {difference:.2g}, "
            f"more than {_TOLERANCE}.",
            remedy="Install the versions of onnx and onnxruntime that pyproject.toml names.",
        )
