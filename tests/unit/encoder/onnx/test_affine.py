"""Scales and shifts beside convolutions, as PP-LCNetV3 has them."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from encoder.onnx.affine import fold_affine, normalize_affine
from encoder.onnx.network import OnnxNetwork
from encoder.runtime.onnx import OnnxSession

RNG = np.random.default_rng(0)


def opened(
    folder: Path, pads: int, *, is_read_twice: bool = False, op: str = "HardSwish"
) -> OnnxNetwork:
    """Convolution, bias, scale, shift, activation, scale, shift, convolution."""
    arrays = {
        "w1": RNG.normal(size=(4, 3, 3, 3)),
        "b1": RNG.normal(size=(1, 4, 1, 1)),
        "s1": np.array([1.3]),
        "t1": np.array([0.4]),
        "s2": np.array([0.02]),
        "t2": np.array([-0.7]),
        "w2": RNG.normal(size=(5, 4, 1 + 2 * pads, 1 + 2 * pads)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"]),
        helper.make_node("Add", ["c1", "b1"], ["a1"]),
        helper.make_node("Mul", ["s1", "a1"], ["m1"]),
        helper.make_node("Add", ["m1", "t1"], ["h1"]),
        helper.make_node(op, ["h1"], ["g"]),
        helper.make_node("Mul", ["s2", "g"], ["m2"]),
        helper.make_node("Add", ["m2", "t2"], ["h2"]),
        helper.make_node("Conv", ["h2", "w2"], ["y"], pads=[pads] * 4),
    ]
    outputs = ["y", "h2"] if is_read_twice else ["y"]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 9, 9])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    save(model, folder / "before.onnx")
    return OnnxNetwork(folder / "before.onnx", folder / "after.onnx")


@pytest.mark.parametrize(
    ("pads", "is_read_twice", "left"),
    [(0, False, 3), (1, False, 4), (0, True, 5)],
    ids=["all", "padding needs the shift", "an output stays"],
)
def test_results_stay_and_operators_go(
    pads: int, is_read_twice: bool, left: int, tmp_path: Path
) -> None:
    network = opened(tmp_path, pads, is_read_twice=is_read_twice)
    assert fold_affine(network) == 8 - left
    network.save()
    assert len(network.proto.graph.node) == left
    check_alike(tmp_path)


@pytest.mark.parametrize(
    ("pads", "is_read_twice"),
    [(1, False), (0, True)],
    ids=["a shift", "a scale and its shift"],
)
def test_what_cannot_be_folded_is_a_normalization(
    pads: int, is_read_twice: bool, tmp_path: Path
) -> None:
    network = opened(tmp_path, pads, is_read_twice=is_read_twice)
    fold_affine(network)
    assert normalize_affine(network) == 1
    network.save()
    kinds = [node.op_type for node in network.proto.graph.node]
    assert kinds == ["Conv", "HardSwish", "BatchNormalization", "Conv"]
    check_alike(tmp_path)


def test_a_scale_of_something_else_stays(tmp_path: Path) -> None:
    network = opened(tmp_path, 1, op="Softmax")
    fold_affine(network)
    assert normalize_affine(network) == 0


def check_alike(folder: Path) -> None:
    """Both networks give the same."""
    inputs = {"x": RNG.normal(size=(1, 3, 9, 9)).astype(np.float32)}
    before, after = (
        OnnxSession(folder / f"{name}.onnx", n_threads=1).run(inputs)
        for name in ("before", "after")
    )
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
