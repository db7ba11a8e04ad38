"""Make PP-OCR's networks ready to serve.

Scales and shifts are folded. Each step outputs only the best of the recognizer's 18,385 classes:
all of them would be 27 MB for a long line.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoder.errors import ModelError
from encoder.onnx.affine import fold_affine, normalize_affine
from encoder.runtime.onnx import OnnxSession
from encoder.services.reader import BEST, DETECTOR, RECOGNIZER, SOURCE, SURE, TURN_CLASSIFIER

if TYPE_CHECKING:
    from onnx import ModelProto

_NOISE = {DETECTOR: (1, 3, 96, 160), RECOGNIZER: (1, 3, 48, 160), TURN_CLASSIFIER: (2, 3, 48, 192)}
"""What the folded networks are tried on."""

_TOLERANCE = 1e-3
"""The most that a probability may change; 2e-6 was measured."""


def prepare_ocr(folder: Path) -> None:
    """Replace the networks that were unpacked with what serving runs.

    Raises:
        ModelError: a network gives different results than before.
    """
    import onnx

    for name, shape in _NOISE.items():
        source, target = folder / (SOURCE + name), folder / name
        model = onnx.load(source)
        fold_affine(model)
        normalize_affine(model)
        if name == RECOGNIZER:
            _keep_best(model)
        onnx.save(model, target)
        _check(source, target, shape)


def _keep_best(model: ModelProto) -> None:
    """Output the probability of the best class at each step, and which it is.

    From the classifier on, steps are rows of one matrix. In the exported form, ONNX Runtime fuses
    the preceding transposition into the product, which then runs at half the speed.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    makers = {node.output[0]: node for node in graph.node}
    constants = {tensor.name for tensor in graph.initializer}
    softmax = makers[graph.output[0].name]
    add = makers[softmax.input[0]]
    (product,) = (makers[name] for name in add.input if name not in constants)
    (bias,) = constants & set(add.input)
    steps, weight = product.input
    for node in (product, add, softmax):
        graph.node.remove(node)
    n_channels = next(tensor.dims[0] for tensor in graph.initializer if tensor.name == weight)
    numbers = {"rows": [-1, n_channels], "one": [1], "start": [0], "end": [2]}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(values, np.int64), f"best.{name}")
        for name, values in numbers.items()
    )
    graph.node.extend(
        helper.make_node(op, inputs, outputs, **settings)
        for op, inputs, outputs, settings in (
            ("Shape", [steps], ["best.full"], {}),
            ("Slice", ["best.full", "best.start", "best.end"], ["best.shape"], {}),
            ("Reshape", [steps, "best.rows"], ["best.x"], {}),
            ("Gemm", ["best.x", weight, bias], ["best.logits"], {}),
            ("Softmax", ["best.logits"], ["best.probabilities"], {"axis": 1}),
            ("TopK", ["best.probabilities", "best.one"], ["best.sure", "best.which"], {"axis": 1}),
            ("Reshape", ["best.sure", "best.shape"], [SURE], {}),
            ("Reshape", ["best.which", "best.shape"], [BEST], {}),
        )
    )
    del graph.output[:]
    kinds = {SURE: TensorProto.FLOAT, BEST: TensorProto.INT64}
    graph.output.extend(
        helper.make_tensor_value_info(name, dtype, ["n", "n_steps"])
        for name, dtype in kinds.items()
    )


def _check(source: Path, target: Path, shape: tuple[int, ...]) -> None:

    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected, outputs = (OnnxSession(path).run({"x": noise})[0] for path in (source, target))
    if expected.ndim > outputs.ndim:
        expected = expected.max(axis=-1)
    difference = float(np.abs(expected - outputs).max())
    if not difference <= _TOLERANCE:
        raise ModelError(
            f"{target.name} differs from the network that was unpacked by {difference:.2g}, "
            f"more than {_TOLERANCE}.",
            remedy="Install the versions of onnx and onnxruntime that pyproject.toml names.",
        )
