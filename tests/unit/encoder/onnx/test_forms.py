"""The forms that a linear layer takes in third-party files, each in a graph made by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from encoder.errors import InputError, ModelError
from encoder.onnx import network, storage
from encoder.onnx.quantize import quantize_linears
from encoder.runtime.onnx import OnnxSession
from encoder.runtime.trial import least_cosine
from tests.support.onnx_files import save_network

N_IN, N_OUT = 48, 32
RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(N_OUT, N_IN)).astype(np.float32)
BIAS = RNG.normal(size=N_OUT).astype(np.float32)
Nodes = list[onnx.NodeProto]


def save(
    path: Path,
    nodes: Nodes,
    weights: dict[str, np.ndarray],
    *,
    opset: int = 17,
    shape: tuple[int | str, ...] = ("n", N_IN),
) -> Path:
    """A network from x to y."""
    return save_network(path, nodes, weights, {"x": shape}, opset=opset)


def agree(source: Path, target: Path, *sides: int) -> None:
    inputs = {"x": RNG.normal(size=sides or (5, N_IN)).astype(np.float32)}
    wanted, found = (OnnxSession(path, n_threads=1).run(inputs) for path in (source, target))
    assert found[0].shape == wanted[0].shape
    assert (
        least_cosine(
            [wanted[0].reshape(-1, wanted[0].shape[-1])], [found[0].reshape(-1, found[0].shape[-1])]
        )
        > 0.999
    )


def ops(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


node = helper.make_node
FORMS: dict[str, tuple[Nodes, dict[str, np.ndarray]]] = {
    "product": ([node("MatMul", ["x", "w"], ["y"])], {"w": WEIGHT.T}),
    "gemm": ([node("Gemm", ["x", "w", "b"], ["y"], transB=1)], {"w": WEIGHT, "b": BIAS}),
    "gemm, not transposed": ([node("Gemm", ["x", "w"], ["y"])], {"w": WEIGHT.T}),
    "bias": (
        [node("MatMul", ["x", "w"], ["p"]), node("Add", ["b", "p"], ["y"])],
        {"w": WEIGHT.T, "b": BIAS},
    ),
    "transposed": (
        [node("Transpose", ["w"], ["t"], perm=[1, 0]), node("MatMul", ["x", "t"], ["y"])],
        {"w": WEIGHT},
    ),
    "half precision": (
        [node("Cast", ["w"], ["f"], to=TensorProto.FLOAT), node("MatMul", ["x", "f"], ["y"])],
        {"w": WEIGHT.T.astype(np.float16)},
    ),
    "reshaped": (
        [node("Reshape", ["w", "s"], ["r"]), node("MatMul", ["x", "r"], ["y"])],
        {"w": WEIGHT.T.reshape(-1), "s": np.array([N_IN, N_OUT])},
    ),
    "constant node": (
        [
            node("Constant", [], ["w"], value=numpy_helper.from_array(WEIGHT.T.copy())),
            node("MatMul", ["x", "w"], ["y"]),
        ],
        {},
    ),
    "batch of one": ([node("MatMul", ["x", "w"], ["y"])], {"w": WEIGHT.T[None]}),
}  # fmt: skip


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found(tmp_path: Path, form: str, bits: int) -> None:
    batched = form == "batch of one"
    shape = ("n", "length", N_IN) if batched else ("n", N_IN)
    source = save(tmp_path / "net.onnx", *FORMS[form], shape=shape)
    report = quantize_linears(source, tmp_path / "int.onnx", weight_bits=bits)
    assert len(report.quantized) == 1
    assert {"MatMulIntegerToFloat", "MatMulNBits"} & {*ops(tmp_path / "int.onnx")}
    sides = (3, 5, N_IN) if batched else (5, N_IN)
    if bits == 8:
        agree(source, tmp_path / "int.onnx", *sides)


@pytest.mark.parametrize("opset", range(10, 24))
def test_every_opset_is_taken(tmp_path: Path, opset: int) -> None:
    source = save(tmp_path / "net.onnx", *FORMS["bias"], opset=opset)
    quantize_linears(source, tmp_path / "int.onnx")
    agree(source, tmp_path / "int.onnx")


def test_more_axes_than_two(tmp_path: Path) -> None:
    source = save(tmp_path / "net.onnx", *FORMS["bias"], shape=("n", 2, "length", N_IN))
    quantize_linears(source, tmp_path / "int.onnx")
    agree(source, tmp_path / "int.onnx", 3, 2, 4, N_IN)


def test_a_row_is_the_same_in_every_batch(tmp_path: Path) -> None:
    source = save(tmp_path / "net.onnx", *FORMS["bias"])
    quantize_linears(source, tmp_path / "int.onnx")
    session = OnnxSession(tmp_path / "int.onnx", n_threads=1)
    x = (RNG.normal(size=(9, N_IN)) * np.logspace(-3, 3, 9)[:, None]).astype(np.float32)
    (together,) = session.run({"x": x})
    for i in range(9):
        assert np.array_equal(session.run({"x": x[i : i + 1]})[0], together[i : i + 1])


def test_a_shared_weight_is_stored_once(tmp_path: Path) -> None:
    square = RNG.normal(size=(N_IN, N_IN)).astype(np.float32)
    nodes = [
        node("MatMul", ["x", "w"], ["p"]),
        node("MatMul", ["p", "w"], ["q"]),
        node("Transpose", ["w"], ["t"], perm=[1, 0]),
        node("MatMul", ["q", "t"], ["y"]),
    ]
    source = save(tmp_path / "net.onnx", nodes, {"w": square})
    quantize_linears(source, tmp_path / "int.onnx")
    stored = onnx.load(tmp_path / "int.onnx").graph.initializer
    # once as it is and once transposed, since the rows then have different scales
    assert sum(t.data_type == TensorProto.INT8 for t in stored) == 2
    agree(source, tmp_path / "int.onnx")


def test_what_is_kept_stays_float(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "a.weight"], ["p"]),
        node("MatMul", ["p", "b.weight"], ["y"]),
    ]
    weights = {"a.weight": WEIGHT.T, "b.weight": WEIGHT}
    source = save(tmp_path / "net.onnx", nodes, weights)
    report = quantize_linears(source, tmp_path / "int.onnx", keep=["b*"])
    assert (report.quantized, report.skipped) == (("a",), ("b",))
    assert ops(tmp_path / "int.onnx").count("MatMul") == 1
    with pytest.raises(InputError, match="such as a, b"):
        quantize_linears(source, tmp_path / "int.onnx", keep=["c"])


def test_a_subgraph_is_left_alone_and_may_read_what_was_rewritten(tmp_path: Path) -> None:
    inner = [node("MatMul", ["p", "v"], ["z"])]
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    other = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    nodes = [
        node("MatMul", ["x", "w"], ["p"]),
        node("ReduceMax", ["p"], ["m"], keepdims=0),
        node("Less", ["m", "zero"], ["c"]),
        node(
            "If", ["c"], ["y"],
            then_branch=helper.make_graph([node("Identity", ["p"], ["o"])], "then", [], [other]),
            else_branch=helper.make_graph(inner, "else", [], [z]),
        ),
    ]  # fmt: skip
    weights = {"w": WEIGHT.T, "v": WEIGHT, "zero": np.float32(0)}
    source = save(tmp_path / "net.onnx", nodes, weights)
    report = quantize_linears(source, tmp_path / "int.onnx")
    assert len(report.quantized) == 1
    agree(source, tmp_path / "int.onnx")


def test_large_weights_lie_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of more than 1 GiB do."""
    folder, target = tmp_path / "source", tmp_path / "target" / "int.onnx"
    folder.mkdir()
    table = RNG.normal(size=(1 << 13, N_IN)).astype(np.float32)
    nodes = [
        node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        node("Gather", ["table", "i"], ["e"]),
        node("MatMul", ["e", "w"], ["p"]),
        node("Mul", ["p", "bias"], ["y"]),
    ]
    bias = RNG.normal(size=(8, N_OUT)).astype(np.float32)
    weights = {"table": table, "w": WEIGHT.T, "bias": bias}
    source = save(folder / "net.onnx", nodes, weights, shape=("n", 8))
    model = onnx.load(source)
    onnx.save(model, source, save_as_external_data=True, location="net.bin", size_threshold=100)
    monkeypatch.setattr(network, "_LARGEST_BYTES", 1000)
    monkeypatch.setattr(storage, "_SMALL_BYTES", 256)

    quantize_linears(source, target)

    beside = target.with_name("int.onnx.data")
    assert target.stat().st_size < 4000
    assert beside.stat().st_size < table.nbytes / 3
    inputs = {"x": RNG.integers(0, len(table), (3, 8)).astype(np.float32)}
    wanted, found = (OnnxSession(path, n_threads=1).run(inputs)[0] for path in (source, target))
    assert least_cosine([wanted.reshape(24, -1)], [found.reshape(24, -1)]) > 0.999


def test_what_cannot_be_rewritten_says_why(tmp_path: Path) -> None:
    source = save(tmp_path / "net.onnx", [node("Relu", ["x"], ["y"])], {})
    with pytest.raises(ModelError, match="no linear layer"):
        quantize_linears(source, tmp_path / "int.onnx")
    with pytest.raises(InputError, match="8 or 4"):
        quantize_linears(source, tmp_path / "int.onnx", weight_bits=5)
    source.write_bytes(b"no network")
    with pytest.raises(ModelError, match="not an ONNX file"):
        quantize_linears(source, tmp_path / "int.onnx")


def test_it_needs_no_torch(tmp_path: Path) -> None:
    source = save(tmp_path / "net.onnx", *FORMS["bias"])
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'onnxscript', 'onnx_ir'])); "
        "from pathlib import Path; from encoder.onnx.quantize import quantize_linears; "
        "quantize_linears(Path(sys.argv[1]), Path(sys.argv[2]), weight_bits=4)"
    )
    target = tmp_path / "int.onnx"
    subprocess.run([sys.executable, "-c", code, source, target], check=True)
    assert target.exists()
