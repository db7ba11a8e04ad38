"""Static int8 at the extremes: no sum of products saturates, whatever the processor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from encoder.onnx.static import activation_ranges, quantize_static, weight_scales
from encoder.runtime.onnx import OnnxSession
from tests.unit.encoder.quant.graphs import save

SHAPES = {
    "pointwise": ((24, 64, 1, 1), 1),
    "stem": ((32, 3, 3, 3), 1),
    "dense": ((16, 17, 3, 3), 1),
    "grouped": ((32, 8, 3, 3), 4),
    "depthwise 3": ((48, 1, 3, 3), 48),
    "depthwise 5": ((19, 1, 5, 5), 19),
    "two for each channel": ((32, 1, 3, 3), 16),
}

FILLS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]] = {
    "all greatest": lambda _, shape: np.ones(shape),
    "all least": lambda _, shape: -np.ones(shape),
    "signs": lambda rng, shape: rng.choice([-1.0, 1.0], shape),
    "one outlier": lambda _, shape: np.where(np.indices(shape)[1:].sum(0) == 0, 1.0, 0.006),
    "normal": lambda rng, shape: rng.normal(size=shape),
}


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("kind", SHAPES)
def test_nothing_saturates(kind: str, fill: str, tmp_path: Path) -> None:
    """Activations of 0 and 255, weights at their extremes: what integers in numpy give."""
    shape, n_groups = SHAPES[kind]
    rng = np.random.default_rng(0)
    weight = FILLS[fill](rng, shape).astype(np.float32)
    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    n_in = shape[1] * n_groups
    pads = [shape[2] // 2] * 4
    conv = helper.make_node("Conv", ["x", "w"], ["y"], group=n_groups, pads=pads)
    save([conv], [numpy_helper.from_array(weight, "w")], source, [1, n_in, 9, 9], TensorProto.FLOAT)
    batches = [
        np.full((1, n_in, 9, 9), 255),
        rng.choice([0, 255], (1, n_in, 9, 9)),
        rng.integers(0, 256, (1, n_in, 9, 9)),
    ]
    examples = [{"x": batch.astype(np.float32)} for batch in batches]
    low, high = activation_ranges(source, examples)["w"]

    # rounded weights may reach further than the float ones
    quantize_static(source, target, {"x": (0.0, 255.0), "w": (1.5 * low, 1.5 * high)})

    codes, scales, step = stored(target)
    session = OnnxSession(target)
    for batch, example in zip(batches, examples, strict=True):
        exact = integer_conv(batch, codes, n_groups) * scales[:, None, None]
        (found,) = session.run(example)
        # within the rounding of the output to its step
        assert np.abs(found - exact).max() <= 0.51 * step


def stored(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float32], float]:
    """Weight codes, their scales and the output's step in an int8 file of one convolution."""
    model = onnx.load(path)
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    (weight,) = (
        n for n in model.graph.node if n.input[0] in values and values[n.input[0]].ndim == 4
    )
    (last,) = (n for n in model.graph.node if "y" in n.output)
    codes: NDArray[np.int8] = values[weight.input[0]]
    return codes.astype(np.int64), values[weight.input[1]], float(values[last.input[1]])


def integer_conv(
    x: NDArray[np.int64], codes: NDArray[np.int64], n_groups: int
) -> NDArray[np.int64]:
    """Convolution with zero pads and stride 1 in 64-bit integers."""
    half = codes.shape[2] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (half, half), (half, half)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, codes.shape[2:], axis=(2, 3))
    parts = zip(np.split(windows, n_groups, 1), np.split(codes, n_groups), strict=True)
    return np.concatenate([np.einsum("nchwij,ocij->nohw", w, c) for w, c in parts], axis=1)


@pytest.mark.parametrize(
    ("rows", "greatest"),
    [([1.0, 1.0], 64), ([1.0, 0.5], 85), ([1.0, 0.0], 127), ([1.0, -1.0], 127), ([-1, -1], 64)],
)
def test_scales_leave_room_for_two_weights(rows: list[float], greatest: int) -> None:
    weight = np.array([rows], np.float32)

    codes = np.rint(weight / weight_scales(weight)[:, None])

    assert np.abs(codes).max() == greatest


def test_a_channel_of_zeros_has_a_scale() -> None:
    assert weight_scales(np.zeros((2, 3), np.float32)).tolist() == [1.0, 1.0]
