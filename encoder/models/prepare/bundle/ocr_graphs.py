"""Make PP-OCR's networks ready to serve.

Scales and shifts are folded, and of the recognizer's 18,385 classes only the best comes out of each
step: all of them would be 27 MB for a long line.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoder.errors import ModelError
from encoder.ocr.open import BEST, DETECTOR, RECOGNIZER, SOURCE, SURE, TURN_CLASSIFIER

if TYPE_CHECKING:
    from onnx import ModelProto

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
        if name == RECOGNIZER:
            _keep_best(model)
        onnx.save(model, target)
        _check(source, target, shape)


def _keep_best(model: ModelProto) -> None:
    """Give the probability of the best class at each step, and which it is."""
    from onnx import TensorProto, helper

    graph = model.graph
    classes = graph.output[0].name
    graph.node.extend(
        [
            helper.make_node("ReduceMax", [classes], [SURE], axes=[2], keepdims=0),
            helper.make_node("ArgMax", [classes], [BEST], axis=2, keepdims=0),
        ]
    )
    del graph.output[:]
    kinds = {SURE: TensorProto.FLOAT, BEST: TensorProto.INT64}
    shape = ["n", "n_steps"]
    graph.output.extend(
        helper.make_tensor_value_info(name, kind, shape) for name, kind in kinds.items()
    )


def _check(source: Path, target: Path, shape: tuple[int, ...]) -> None:
    from encoder.runtime.onnx import OnnxSession

    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    before, after = (OnnxSession(path).run({"x": noise})[0] for path in (source, target))
    if before.ndim > after.ndim:
        before = before.max(axis=-1)
    difference = float(np.abs(before - after).max())
    if not difference <= _TOLERANCE:
        raise ModelError(
            f"{target.name} differs from the network that was unpacked by {difference:.2g}, "
            f"more than {_TOLERANCE}.",
            remedy="Install the versions of onnx and onnxruntime that pyproject.toml names.",
        )
