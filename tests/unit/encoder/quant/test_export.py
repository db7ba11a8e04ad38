"""The ONNX file holds what is packed, and computes what torch computes on it."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from encoder.errors import InputError, ModelError
from encoder.quant.calibration import Batch
from encoder.quant.export_onnx import export_onnx
from encoder.quant.stored import stored_layers
from tests.unit.encoder.quant.rounded import (
    Cnn,
    Convolutions,
    CrossAttention,
    Tied,
    bert,
    rounded,
    tokens,
    vit,
)

pytestmark = pytest.mark.slow

MIXES = (
    ("int8", "int4", "int4g32", "fp16", "int3"),
    ("int6", "int5", "int5g32", "int6", "int5"),
    ("int4g64", "int3g32", "int8g32", "int4", "fp32", "int8"),
)
CNN = {"x": torch.randn(2, 3, 12, 12)}
TIED = {"input_ids": torch.arange(6).view(2, 3)}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


def run(path: Path, inputs: dict[str, Tensor], **config: str) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for name, value in config.items():
        options.add_session_config_entry(f"session.{name}", value)
    if not config:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs: list[Any] = session.run(None, {name: x.numpy() for name, x in inputs.items()})
    return outputs


def initializers(path: Path) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize(
    ("make", "example", "other", "mix"),
    [
        *((Cnn, CNN, {"x": torch.randn(5, 3, 12, 12)}, mix) for mix in MIXES),
        *((bert, tokens(), tokens(3, 11), mix) for mix in MIXES[::2]),
        (vit, {"input": torch.randn(2, 5, 64)}, {"input": torch.randn(4, 5, 64)}, MIXES[1]),
        *((Tied, TIED, {"input_ids": torch.arange(8)[None]}, mix) for mix in MIXES),
    ],
)
def test_outputs_equal_torch_at_other_lengths(
    make: Any, example: Any, other: Any, mix: tuple[str, ...], path: Path
) -> None:
    model = rounded(make(), mix)
    report = export_onnx(model, example, path)
    assert report.difference <= 1e-4
    with torch.inference_mode():
        wanted = model(**other).numpy()
    for config in ({}, {"disable_quant_qdq": "1"}, {"qdq_matmulnbits_accuracy_level": "1"}):
        np.testing.assert_allclose(run(path, other, **config)[0], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scheme", ["int8", "int4g32"])
def test_inputs_and_outputs_of_every_form(scheme: str, path: Path) -> None:
    pair = (torch.randn(2, 5, 64), torch.randn(2, 3, 64))
    report = export_onnx(rounded(CrossAttention(), scheme), pair, path)
    assert report.difference <= 1e-5
    assert [i.name for i in onnx.load(path).graph.input] == ["query", "memory"]
    pair = (torch.randn(2, 8, 9), torch.randn(2, 2, 3, 4, 5))
    assert export_onnx(rounded(Convolutions(), scheme), pair, path).difference <= 1e-5


def test_a_value_takes_as_many_bytes_as_its_scheme(path: Path) -> None:
    value_bytes = {
        "int4": 0.5, "int4g64": 0.5, "int3": 0.5, "int6": 1, "int8": 1, "fp16": 2, "fp32": 4
    }  # fmt: skip
    layers = [nn.Linear(512, 512, bias=False) for _ in value_bytes]
    report = export_onnx(
        rounded(nn.Sequential(*layers), list(value_bytes)), torch.randn(2, 512), path
    )
    assert report.nbytes == path.stat().st_size
    n_scales = sum(
        512 * (8 if name.endswith("g64") else 1) for name in value_bytes if "int" in name
    )
    overhead = report.nbytes - sum(value_bytes.values()) * 512 * 512 - 2 * n_scales
    assert 0 < overhead < 1000 * len(layers)


def test_widths_that_onnx_lacks_are_noted(path: Path) -> None:
    layers = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    report = export_onnx(rounded(layers, ("int3", "int5")), torch.randn(2, 8), path)
    assert set(report.notes) == {"INT3 is stored as INT4: 0", "INT5 is stored as INT8: 2"}


def test_the_codes_in_the_file_are_those_of_the_model(path: Path) -> None:
    model = rounded(Cnn(), {"conv": "int4", "linear": "int8"})
    export_onnx(model, torch.randn(2, 3, 12, 12), path)
    stored, modules = initializers(path), dict(stored_layers(model))
    stem, head = modules["stem"].packed_weight, modules["head"].packed_weight
    # 27 values a row: ONNX packs on across rows, so compare the values, not the bytes
    codes = onnx.numpy_helper.to_array(stored["stem.weight.codes"]).astype(np.float32)
    scales = onnx.numpy_helper.to_array(stored["stem.weight.scales"]).astype(np.float32)
    values = codes * scales[:, None, None, None]
    np.testing.assert_array_equal(values.reshape(32, 27), stem.dequantize().numpy())
    assert stored["stem.weight.codes"].data_type == onnx.TensorProto.INT4
    assert len(stored["stem.weight.codes"].raw_data) == 32 * 27 // 2
    assert stored["head.weight.codes"].raw_data == head.packed.numpy().tobytes()
    assert operators(path)["BatchNormalization"] == 1  # not folded into the codes


def test_a_linear_layer_becomes_one_fused_product(path: Path, tmp_path: Path) -> None:
    model = rounded(nn.Sequential(nn.Linear(64, 32)), "int4g32")
    report = export_onnx(model, torch.randn(2, 3, 64), path)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    assert "MatMulNBits" in operators(tmp_path / "optimized.onnx")
    assert report.difference < 1e-5
    assert report.default_difference < 3e-2  # it may round activations to INT8


@pytest.mark.parametrize(
    ("scheme", "dim"), [("int4", 64), ("int4", 33), ("int8", 33), ("fp16", 33)]
)
def test_an_embedding_dequantizes_only_the_rows_it_looks_up(
    scheme: str, dim: int, path: Path
) -> None:
    model = rounded(nn.Sequential(nn.Embedding(40, dim)), scheme)
    export_onnx(model, torch.randint(0, 40, (2, 3)), path)
    ids = torch.randint(0, 40, (4, 6))
    np.testing.assert_array_equal(run(path, {"input": ids})[0], model(ids).numpy())
    graph = onnx.load(path).graph
    tables = [tensor for tensor in graph.initializer if tensor.dims[:1] == [40]]
    readers = {node.op_type for node in graph.node for t in tables if t.name in node.input}
    assert readers == {"Gather"}
    if scheme == "int4":
        assert [len(table.raw_data) for table in tables] == [40 * -(-dim // 2), 40 * 2]


@pytest.mark.parametrize("loaded", [False, True], ids=["tied", "equal copies"])
def test_tied_weights_are_stored_once(loaded: bool, path: Path) -> None:
    model = rounded(Tied(), "int4")
    if loaded:  # each module with its own tensors, as after loading a state dict
        model.head = copy.deepcopy(model.head)
    export_onnx(model, torch.randint(0, 50, (2, 3)), path)
    assert sum(t.data_type == onnx.TensorProto.INT4 for t in initializers(path).values()) == 1
    assert path.stat().st_size < 50 * 64 / 2 + 2 * 50 + 1500


@pytest.mark.slow
def test_an_example_of_one_item_leaves_the_batch_dynamic(path: Path) -> None:
    export_onnx(rounded(Tied(), "int8"), {"input_ids": torch.arange(5)[None]}, path)
    dims = [d.dim_param for i in onnx.load(path).graph.input for d in i.type.tensor_type.shape.dim]
    assert all(dims)
    ids = torch.arange(18).view(6, 3)
    assert run(path, {"input_ids": ids})[0].shape == (6, 3, 50)


def test_named_axes_vary_and_others_do_not(path: Path) -> None:
    model, example = rounded(Cnn(), "int8"), torch.randn(2, 3, 12, 12)
    export_onnx(model, example, path, dynamic_axes={"x": (2, 3)})
    shape = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in shape] == [2, 3, 0, 0]


def test_the_file_reveals_nothing_of_the_machine(path: Path) -> None:
    export_onnx(rounded(Cnn(), "int4"), torch.randn(2, 3, 12, 12), path)
    assert str(Path(__file__).parents[3]).encode() not in path.read_bytes()
    assert b"site-packages" not in path.read_bytes()


class Anything(nn.Module):
    def forward(self, *inputs: Tensor) -> Tensor:
        return inputs[0]


class Fixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(2, 3)


class Forked(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("model", "example", "options", "message"),
    [
        (Cnn(), torch.zeros(2, 3, 12, 12), {"target": "coreml"}, "target: got 'coreml'"),
        (Cnn(), {"x": [1, 2]}, {}, r"example\['x'\]: got list. Expected a tensor"),
        (Anything(), torch.zeros(2, 3), {}, "1 inputs, and forward names 0. Expected a dict"),
        (Cnn(), (torch.zeros(2), torch.zeros(2)), {}, "2 inputs, and forward names 1"),
    ],
)
def test_bad_arguments_are_named(
    model: nn.Module, example: Batch, options: Any, message: str, path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        export_onnx(model, example, path, **options)


def test_what_cannot_be_traced_says_with_what(path: Path) -> None:
    assert "fixed length 2 along axis 0" in export_onnx(Fixed(), torch.zeros(2, 3), path).notes[0]
    with pytest.raises(ModelError, match=r"Forked cannot be traced with \(x: float32 \[3, 3\]\)"):
        export_onnx(Forked(), torch.zeros(3, 3), path)
