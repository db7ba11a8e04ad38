"""Static int8: small real networks against float."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from encoder.errors import InputError, ModelError
from encoder.networks.convolutions import Block, BlockSize, SamePadConv
from encoder.onnx.static import (
    activation_ranges,
    logit_agreement,
    quantiles,
    quantize_static,
)
from encoder.runtime.onnx import OnnxSession
from tests.support.onnx_files import save_network
from tests.unit.encoder.exported import export

Inputs = dict[str, NDArray[np.float32]]


class Net(nn.Module):
    """Stem with SAME pads, inverted residual, depthwise with stride, grouped, global mean, head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SamePadConv(3, 16, 3, 2)
        self.stem_norm = nn.BatchNorm2d(16)
        self.same = Block(BlockSize(kernel=3, stride=1, expand=4, n_in=16, n_out=16))
        self.down = Block(BlockSize(kernel=5, stride=2, expand=4, n_in=16, n_out=24))
        self.grouped = nn.Conv2d(24, 32, 3, groups=4)
        self.head = nn.Linear(32, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        x = functional.relu6(self.stem_norm(self.stem(pixels)))
        x = functional.relu(self.grouped(self.down(self.same(x))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def noise(n: int, seed: int) -> list[Inputs]:
    rng = np.random.default_rng(seed)
    return [{"pixels": rng.normal(size=(2, 3, 32, 32)).astype(np.float32)} for _ in range(n)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The net, with batch norms that have something to fold."""
    torch.manual_seed(0)
    net = Net().train()
    for example in noise(8, seed=1):
        net(torch.from_numpy(example["pixels"]))
    path = tmp_path_factory.mktemp("net") / "model.onnx"
    export(net, noise(1, seed=2)[0], path, {"pixels": (0,)})
    return path


@pytest.fixture(scope="module")
def ranges(source: Path) -> dict[str, tuple[float, float]]:
    return activation_ranges(source, noise(16, seed=3))


def optimized(path: Path) -> Counter[str]:
    """The operators that ONNX Runtime runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path.with_suffix(".optimized.onnx"))
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


@pytest.mark.slow
def test_int8_agrees_with_float(
    source: Path, ranges: dict[str, tuple[float, float]], tmp_path: Path
) -> None:
    target = tmp_path / "int8.onnx"

    quantize_static(source, target, ranges)

    assert logit_agreement(source, target, noise(8, seed=4)) > 0.99


def test_every_layer_computes_in_integers(
    source: Path, ranges: dict[str, tuple[float, float]], tmp_path: Path
) -> None:
    target = tmp_path / "int8.onnx"
    quantize_static(source, target, ranges)

    run = optimized(target)

    n_convs = sum(node.op_type == "Conv" for node in onnx.load(source).graph.node)
    assert run["QLinearConv"] == n_convs
    assert run["QGemm"] == run["QLinearAdd"] == 1
    assert not run.keys() & {"Conv", "Gemm", "Clip", "Relu", "Pad", "BatchNormalization"}


def test_layers_to_keep_compute_in_float(source: Path, tmp_path: Path) -> None:
    keep = ("stem", "down", "head")
    measured = activation_ranges(source, noise(4, seed=3), keep=keep)
    target = tmp_path / "int8.onnx"

    quantize_static(source, target, measured, keep=keep)

    n_convs = sum(node.op_type == "Conv" for node in onnx.load(source).graph.node)
    run = optimized(target)
    assert run["QLinearConv"] == n_convs - 4  # the stem, and the three of a block
    assert "QGemm" not in run
    assert not measured.keys() & {"head", "down._depthwise_conv"}
    assert logit_agreement(source, target, noise(8, seed=4)) > 0.99


def test_a_layer_to_keep_must_be_there(
    source: Path, ranges: dict[str, tuple[float, float]], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"keep.*'ste'.*a layer of the network"):
        quantize_static(source, tmp_path / "int8.onnx", ranges, keep=["ste"])


def test_a_share_of_the_values_may_lie_beyond(source: Path) -> None:
    examples = noise(4, seed=3)
    every = np.sort(np.concatenate([each["pixels"].ravel() for each in examples]))

    low, high = activation_ranges(source, examples, beyond=0.01)["pixels"]

    step = float(every[-1] - every[0]) / 1000
    assert low == pytest.approx(np.quantile(every, 0.01), abs=step)
    assert high == pytest.approx(np.quantile(every, 0.99), abs=step)


@pytest.mark.parametrize(
    ("beyond", "wanted"),
    [(0.0, (-2.0, 6.0)), (0.1, (-1.0, 5.0)), (0.25, (-1.0, 4.0)), (0.4, (0.0, 3.0))],
)
def test_quantiles_cut_both_ends_but_not_zero(beyond: float, wanted: tuple[float, float]) -> None:
    counts = np.array([1, 2, 1, 1, 1, 2, 1, 1])

    assert quantiles(counts, (-2.0, 6.0), beyond) == wanted


def test_stored_ranges_fit_another_export(
    source: Path, ranges: dict[str, tuple[float, float]], tmp_path: Path
) -> None:
    model = onnx.load(source)
    renamed = {value.name: value.name for value in (*model.graph.input, *model.graph.output)}
    renamed |= {tensor.name: tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        for index, name in enumerate(node.output):
            node.output[index] = renamed.setdefault(name, f"t{len(renamed)}")
        node.name = ""
    del model.graph.value_info[:]
    other, direct, stored = (tmp_path / f"{name}.onnx" for name in ("other", "direct", "stored"))
    onnx.save(model, other)

    quantize_static(source, direct, ranges)
    quantize_static(other, stored, json.loads(json.dumps(ranges)))

    (inputs,) = noise(1, seed=5)
    (expected,), (found,) = (OnnxSession(path).run(inputs) for path in (direct, stored))
    np.testing.assert_array_equal(found, expected)


def test_pads_and_batch_norms_are_folded(tmp_path: Path) -> None:
    """As an exporter without optimization leaves them."""
    rng = np.random.default_rng(0)
    arrays = {
        "conv.weight": rng.normal(size=(4, 3, 3, 3)),
        "scale": rng.uniform(0.5, 2, 4),
        "shift": rng.normal(size=4),
        "mean": rng.normal(size=4),
        "variance": rng.uniform(0.5, 2, 4),
    }
    stored = {name: array.astype(np.float32) for name, array in arrays.items()}
    stored["pads"] = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["padded"]),
        helper.make_node("Conv", ["padded", "conv.weight"], ["conv"], strides=[2, 2]),
        helper.make_node(
            "BatchNormalization", ["conv", "scale", "shift", "mean", "variance"], ["n"]
        ),
        helper.make_node("Relu", ["n"], ["y"]),
    ]
    source, target = tmp_path / "raw.onnx", tmp_path / "int8.onnx"
    save_network(source, nodes, stored, {"x": [2, 3, 16, 16]})
    examples = [{"x": rng.normal(size=(2, 3, 16, 16)).astype(np.float32)} for _ in range(4)]

    ranges = activation_ranges(source, examples)
    quantize_static(source, target, ranges)

    assert set(ranges) == {"x", "conv"}
    run = optimized(target)
    assert run["QLinearConv"] == 1
    assert not run.keys() & {"Pad", "BatchNormalization", "Relu"}
    (a,), (b,) = (OnnxSession(path).run(examples[0]) for path in (source, target))
    assert np.abs(a - b).max() < 0.03 * a.max()


@pytest.mark.parametrize("low", [0.5, -1.0])
def test_a_clip_is_kept_unless_zero_passes_it(low: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 3, 1, 1)).astype(np.float32)
    stored = {"w": weight, "low": np.float32(low), "high": np.float32(2)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Clip", ["c", "low", "high"], ["y"]),
    ]
    source, target = tmp_path / "clip.onnx", tmp_path / "int8.onnx"
    save_network(source, nodes, stored, {"x": [1, 3, 8, 8]})
    inputs = {"x": rng.normal(size=(1, 3, 8, 8)).astype(np.float32)}

    # ranges wider than the clip must not widen it
    wide = dict.fromkeys(activation_ranges(source, [inputs]), (-9.0, 9.0))
    quantize_static(source, target, wide)

    (a,), (b,) = (OnnxSession(path).run(inputs) for path in (source, target))
    assert np.abs(a - b).max() < 0.2
    assert b.min() >= low - 0.01
    assert b.max() <= 2.01


def test_a_missing_range_is_named(
    source: Path, ranges: dict[str, tuple[float, float]], tmp_path: Path
) -> None:
    missing = "same._project_conv/Add"
    others = {name: range_ for name, range_ in ranges.items() if name != missing}

    with pytest.raises(InputError, match=rf"{missing}.*activation_ranges"):
        quantize_static(source, tmp_path / "int8.onnx", others)


@pytest.mark.parametrize("bad", [(1.0, -1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_a_range_that_is_none_is_refused(
    bad: tuple[float, float],
    source: Path,
    ranges: dict[str, tuple[float, float]],
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match="stem"):
        quantize_static(source, tmp_path / "int8.onnx", ranges | {"stem": bad})


def test_an_activation_that_is_not_finite_is_named(source: Path) -> None:
    broken = {"pixels": np.full((1, 3, 32, 32), np.nan, np.float32)}

    with pytest.raises(ModelError, match="pixels is not finite"):
        activation_ranges(source, [broken])


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
    save_network(source, [conv], {"w": weight}, {"x": [1, n_in, 9, 9]})
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
