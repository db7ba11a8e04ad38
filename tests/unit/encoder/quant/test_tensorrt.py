"""Exports for TensorRT keep to its documented rules; TensorRT itself is not run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from encoder.errors import InputError
from encoder.onnx.tensorrt import RULES, BrokenRule, check_tensorrt
from encoder.quant.export_onnx import export_onnx
from tests.unit.encoder.quant.rounded import Cnn, Tied, bert, rounded, tokens, vit

pytestmark = pytest.mark.slow

F, I4, I8, U8 = TensorProto.FLOAT, TensorProto.INT4, TensorProto.INT8, TensorProto.UINT8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (rounded(Cnn(), ("int8", "fp16", "int8", "fp32")), torch.randn(2, 3, 12, 12)),
        (rounded(bert(), {"linear": "int4g64", "embedding": "int8"}), tokens()),
        (rounded(bert(), {"linear": "int3", "embedding": "fp16"}), tokens()),
        (rounded(vit(), ("int4", "int8", "int4g128", "fp16")), torch.randn(2, 5, 64)),
        (rounded(Tied(), "int8"), torch.randint(0, 50, (2, 3))),
    ],
    ids=["cnn", "bert int4", "bert int3", "vit", "tied"],
)
def test_exports_keep_to_every_rule(model: nn.Module, example: Any, path: Path) -> None:
    report = export_onnx(model, example, path, target="tensorrt")
    assert report.difference <= 1e-4
    assert check_tensorrt(path) == []
    graph = onnx.load(path).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    dequantizers = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    assert dequantizers
    assert all(len(node.input) == 2 and types[node.input[1]] == F for node in dequantizers)


def test_int4_per_channel_becomes_blocks_of_the_same_values(path: Path) -> None:
    model = rounded(nn.Sequential(nn.Linear(192, 8), nn.Linear(8, 4)), ("int4", "int8"))
    report = export_onnx(model, torch.randn(2, 192), path, target="tensorrt")
    assert report.notes == ("one scale per channel is repeated for each INT4 block: 0",)
    (node,) = [n for n in onnx.load(path).graph.node if n.input[0] == "0.weight.codes"]
    assert {a.name: a.i for a in node.attribute} == {"axis": 1, "block_size": 64}
    assert report.difference < 1e-6


@pytest.mark.parametrize(
    ("schemes", "problems"),
    [
        ({"conv": "int8", "stem": "int4", "linear": "int8"}, {"stem": "linear layers only"}),
        ({"conv": "int8", "grouped": "int3", "linear": "int8"}, {"grouped": "INT3 is for linear"}),
        ({"conv": "fp32", "linear": "int8g32"}, {"head": "INT8 takes one scale per channel"}),
        ({"conv": "fp16", "linear": "int4g32"}, {"head": "must be 64 or 128, not 32"}),
        ({"conv": "fp16", "linear": "int4"}, {"head": "32 columns do not divide into INT4 blocks"}),
    ],
)
def test_what_it_cannot_take_is_refused_with_a_remedy_that_works(
    schemes: dict[str, str], problems: dict[str, str], path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        export_onnx(rounded(Cnn(), schemes), torch.randn(2, 3, 12, 12), path, target="tensorrt")
    assert not path.exists()
    for name, problem in problems.items():
        assert re.search(f"{name}: [^;]*{problem}", str(caught.value))
    keep = dict(re.findall(r'"(\w+)": "(\w+)"', str(caught.value)))
    assert set(problems) <= set(keep)
    model = rounded(Cnn(), schemes | keep)
    assert export_onnx(model, torch.randn(2, 3, 12, 12), path, target="tensorrt").nbytes


def test_an_embedding_in_int4_is_refused(path: Path) -> None:
    with pytest.raises(InputError, match="embedding: INT4 is for linear layers only, not embed"):
        export_onnx(rounded(Tied(), "int4g64"), torch.zeros(2, 3).long(), path, target="tensorrt")


@pytest.mark.slow
def test_files_for_onnx_runtime_break_its_rules(path: Path) -> None:
    export_onnx(rounded(Tied(), "int4"), torch.randint(0, 50, (2, 3)), path)
    assert {finding.rule for finding in check_tensorrt(path)} >= {"int4_blocks", "int4_gemm_only"}
    export_onnx(rounded(bert(), "int4"), tokens(), path)
    assert "no_uint8_inside" in {finding.rule for finding in check_tensorrt(path)}


def constant(name: str, kind: int, values: Any) -> onnx.TensorProto:
    array = np.asarray(values)
    if kind == I4:
        flat = array.reshape(-1).astype(np.uint8) & 15
        raw = (flat[0::2] | (flat[1::2] << 4)).tobytes()
    else:
        raw = array.astype(helper.tensor_dtype_to_np_dtype(kind)).tobytes()
    return helper.make_tensor(name, kind, array.shape, raw, raw=True)


def file(
    path: Path, nodes: Sequence[onnx.NodeProto], *constants: onnx.TensorProto, opset: int = 21
) -> list[BrokenRule]:
    ids = any(node.op_type == "Gather" for node in nodes)
    x = helper.make_tensor_value_info("x", TensorProto.INT64 if ids else F, None)
    y = helper.make_tensor_value_info("y", F, None)
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), path)
    return check_tensorrt(path)


def product(
    kind: int, shape: tuple[int, ...], scales: Any, *, op: str = "MatMul", **attributes: int
) -> tuple[list[onnx.NodeProto], onnx.TensorProto, onnx.TensorProto]:
    inputs = ["w", "x"] if op == "Gather" else ["x", "w"]
    nodes = [
        helper.make_node("DequantizeLinear", ["c", "s"], ["w"], **attributes),
        helper.make_node(op, inputs, ["y"]),
    ]
    return nodes, constant("c", kind, np.ones(shape)), constant("s", F, scales)


def zero_point(kind: int, value: int) -> tuple[Any, ...]:
    nodes, *constants = product(I8, (64, 8), np.ones(8), axis=1)
    nodes[0].input.append("z")
    return nodes, *constants, constant("z", kind, np.full(8, value))


def on_activations(*zero_point: str) -> tuple[Any, ...]:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", *zero_point], ["q"], axis=1),
        helper.make_node("DequantizeLinear", ["q", "s", *zero_point], ["y"], axis=1),
    ]
    return nodes, constant("s", F, np.ones(8)), constant("z", I8, np.zeros(8))


def gathered_codes() -> tuple[Any, ...]:
    nodes = [
        helper.make_node("Gather", ["c", "x"], ["g"]),
        helper.make_node("DequantizeLinear", ["g", "s"], ["y"]),
    ]
    return nodes, constant("c", I8, np.ones((4, 8))), constant("s", F, 1.0)


GOOD = product(I8, (64, 8), np.ones(8), axis=1)
BLOCKS = product(I4, (128, 8), np.ones((2, 8)), axis=0, block_size=64)
BAD: dict[str, tuple[Any, ...]] = {
    "standard_operators": ([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")],),
    "standard_operators ": ([helper.make_node("MatMulInteger", ["x", "x"], ["y"])],),
    "signed_codes no_uint8_inside": product(U8, (64, 8), np.ones(8), axis=1),
    "no_uint8_inside": ([helper.make_node("Gather", ["c", "x"], ["y"])], constant("c", U8, [1, 2])),
    "only_dequantized": gathered_codes(),
    "symmetric": zero_point(I8, 3),
    "positive_scales": product(I8, (64, 8), np.zeros(8), axis=1),
    "positive_scales ": product(I8, (64, 8), np.full(8, np.inf), axis=1),
    "per_channel_constants": on_activations("z"),
    "per_channel_constants signed_codes": on_activations(),  # without a zero point ONNX has UINT8
    "per_channel_constants ": product(I8, (64, 8), np.ones(3), axis=1),
    "output_channel_axis": product(I8, (8, 8), np.ones(8), axis=0),
    "output_channel_axis  ": product(I8, (8, 8), np.ones(8), axis=1, op="Gather"),
    "output_channel_axis   ": product(I8, (8, 8, 3, 3), np.ones(8), axis=1, op="Conv"),
    "int8_unblocked": product(I8, (128, 8), np.ones((2, 8)), axis=0, block_size=64),
    "int4_blocks": product(I4, (128, 8), np.ones((4, 8)), axis=0, block_size=32),
    "int4_blocks ": product(I4, (128, 8), np.ones(8), axis=1),
    "int4_blocks  ": product(I4, (96, 8), np.ones((2, 8)), axis=0, block_size=64),
    "int4_gemm_only": product(I4, (8, 128), np.ones((8, 2)), axis=1, block_size=64, op="Gather"),
    "int4_gemm_only ": product(I4, (8, 128), np.ones((8, 2)), axis=1, block_size=64),
}


@pytest.mark.parametrize("rules", BAD)
def test_each_rule_finds_what_breaks_it(rules: str, path: Path) -> None:
    found = file(path, *BAD[rules])
    names = {finding.rule for finding in found}
    assert set(rules.split()) <= names
    # blocks along the wrong axis are the only case that two INT4 rules can report
    assert names - set(rules.split()) <= {"int4_gemm_only"}
    assert all(finding.subject and finding.rule in str(finding) for finding in found)


def test_opsets_that_it_does_not_read(path: Path) -> None:
    assert [f.rule for f in file(path, *GOOD, opset=26)] == ["opset_range"]
    assert [f.rule for f in file(path, *BLOCKS, opset=20)] == ["opset_range"]


@pytest.mark.parametrize("good", [GOOD, BLOCKS, zero_point(I8, 0)])
def test_good_files_have_no_findings(good: tuple[Any, ...], path: Path) -> None:
    assert file(path, *good) == []


def test_every_rule_is_tried_and_cites_its_source() -> None:
    tried = {name for rules in BAD for name in rules.split()} | {"opset_range"}
    assert tried == {rule.__name__ for rule in RULES}
    sources = ("*Header*", "*Operators*", "*Opsets*", "*Schemes*", "*Guide*")
    assert all(any(source in str(rule.__doc__) for source in sources) for rule in RULES)
