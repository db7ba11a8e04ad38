"""Make PP-OCR's networks ready to serve.

Scales and shifts are folded. Each step outputs only the best of the recognizer's 18,385 classes:
all of them would be 27 MB for a long line.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.onnx.affine import fold_affine, normalize_affine
from encoder.onnx.network import OnnxNetwork
from encoder.runtime.onnx import OnnxSession
from encoder.services.reader import (
    BEST,
    CHARACTERS,
    DETECTOR,
    RECOGNIZER,
    SOURCE,
    SURE,
    TURN_CLASSIFIER,
    read_characters,
)

_NOISE = {DETECTOR: (1, 3, 96, 160), RECOGNIZER: (1, 3, 48, 160), TURN_CLASSIFIER: (2, 3, 48, 192)}
"""What the folded networks are tried on."""

_TOLERANCE = 1e-3
"""The most that a probability may change; 2e-6 was measured."""

_RADICALS = "".join(unicodedata.normalize("NFKC", chr(code)) for code in range(0x2F00, 0x2FD6))
_SIMPLE_RADICALS = "民母西角青食骨鬼黄麦齐韦车见贝长门马鸟鱼页风飞齿龙龟"
_STROKES = "丨丶丿乙亅"
"""Characters that are coded as radicals too. The recognizer often takes them for nothing, as if it
had learned from texts that code them as radicals, which it does not know."""

_ODDS = {
    **dict.fromkeys(set(_RADICALS + _SIMPLE_RADICALS) - set(_STROKES), 50.0),
    **dict.fromkeys("äöüÄÖÜß", 8.0),
}
"""By how much characters are more probable than the recognizer says; dots are lost on letters."""


def prepare_ocr(folder: Path) -> None:
    """Replace the networks that were unpacked with what serving runs.

    Raises:
        ModelError: a network gives different results than before.
    """
    odds = class_odds(read_characters(folder / CHARACTERS))
    for name, shape in _NOISE.items():
        source, target = folder / (SOURCE + name), folder / name
        network = OnnxNetwork(source, target)
        fold_affine(network)
        normalize_affine(network)
        if name == RECOGNIZER:
            _keep_best(network, odds)
        network.save()
        _check(source, target, shape, odds if name == RECOGNIZER else None)


def class_odds(characters: Sequence[str]) -> NDArray[np.float32]:
    """By how much each of the recognizer's classes is more probable than it says."""
    return np.array([_ODDS.get(c, 1.0) for c in characters], np.float32)


def _keep_best(network: OnnxNetwork, odds: NDArray[np.float32]) -> None:
    """Output the probability of the best class at each step, and which it is.

    From the classifier on, steps are rows of one matrix. In the exported form, ONNX Runtime fuses
    the preceding transposition into the product, which then runs at half the speed.
    """
    from onnx import TensorProto

    (output,) = network.outputs
    softmax = network.maker(output, "Softmax")
    add = softmax and network.maker(softmax.input[0], "Add")
    operands = list(add.input) if add else []
    product = next((node for name in operands if (node := network.maker(name, "MatMul"))), None)
    weight = product and network.array(product.input[1])
    assert softmax
    assert add
    assert product
    assert weight is not None
    (bias,) = (name for name in operands if name != product.output[0])
    biases = network.array(bias)
    assert biases is not None
    steps = product.input[0]
    network.remove(product, add, softmax)
    sides = network.add("Slice", network.add("Shape", steps), network.ints(0), network.ints(2))
    rows = network.add("Reshape", steps, network.ints(-1, weight.shape[0]))
    logits = network.add("Gemm", rows, product.input[1], network.constant(biases + np.log(odds)))
    probabilities = network.add("Softmax", logits, axis=1)
    sure, best = network.add_many(
        "TopK", ("best.sure", "best.which"), probabilities, network.ints(1), axis=1
    )
    network.add("Reshape", sure, sides, output=SURE)
    network.add("Reshape", best, sides, output=BEST)
    shape = ("n", "n_steps")
    network.set_outputs({SURE: (TensorProto.FLOAT, shape), BEST: (TensorProto.INT64, shape)})


def _check(
    source: Path, target: Path, shape: tuple[int, ...], odds: NDArray[np.float32] | None
) -> None:
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected, outputs = (OnnxSession(path).run({"x": noise})[0] for path in (source, target))
    if odds is not None:
        expected = expected * odds
        expected = expected.max(axis=-1) / expected.sum(axis=-1)
    difference = float(np.abs(expected - outputs).max())
    if not difference <= _TOLERANCE:
        raise ModelError(
            f"{target.name} differs from the network that was unpacked by {difference:.2g}, "
            f"more than {_TOLERANCE}.",
            remedy="Install the versions of onnx and onnxruntime that pyproject.toml names.",
        )
