"""A model that is quantized for a runtime has nothing that the runtime does not support."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import onnx
import pytest
import torch
from torch import Tensor, nn

from encoder import Quantizer
from encoder.errors import InputError
from encoder.quant.export_onnx import export_onnx
from encoder.quant.limits import TENSORRT_BLOCKS, Target, takes
from encoder.quant.schemes import FP16, INT4, INT5, INT8, Scheme
from tests.unit.encoder.quant.rounded import Cnn, Tied, bert, rounded, tokens, vit

TARGETS = get_args(Target)


class Mixed(nn.Module):
    """A layer of each kind, small and large."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(40, 48)
        self.past = nn.GRU(48, 64, batch_first=True)
        self.stem = nn.Conv1d(64, 128, 3)
        self.up = nn.ConvTranspose1d(128, 64, 2, groups=2)
        self.narrow, self.wide = nn.Linear(64, 30), nn.Linear(30, 8)
        self.form = nn.Bilinear(8, 8, 4)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.past(self.table(ids))[0].transpose(1, 2)
        y = self.wide(self.narrow(self.up(self.stem(x).relu()).mean(2)))
        scores: Tensor = self.form(y, y)
        return scores


@pytest.fixture(scope="module")
def quantizer() -> Quantizer:
    quantizer = Quantizer(Mixed(), objective="cosine", progress=False)
    quantizer.analyze_sensitivity(schemes=["int3", "int4", "int4g64", "int5", "int8"])
    return quantizer


@pytest.mark.parametrize("target", TARGETS)
def test_only_what_it_takes_is_chosen(target: Target, quantizer: Quantizer) -> None:
    schemes = quantizer.apply(max_loss=1.0, keep={"form": "fp32"}, target=target).schemes
    assert {scheme.bits for scheme in schemes.values()} <= {4, 8, 16}
    assert schemes["narrow"].bits == 4
    if target in ("tensorrt", "openvino"):
        assert schemes["stem"] == INT8
    if target == "tensorrt":
        assert "past.weight_ih_l0" not in schemes or schemes["past.weight_ih_l0"] == FP16
    if target == "tensorrt":
        assert schemes["wide"] in (INT8, FP16)
        assert schemes["up"] == FP16


def check_tensorrt(path: Path) -> None:
    """Standard operators; signed codes that only ``DequantizeLinear`` reads, with float scales.

    INT4 is in blocks along the axis that a product sums over.
    """
    graph = onnx.load(path).graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    codes = (onnx.TensorProto.INT8, onnx.TensorProto.INT4)
    assert not any(tensor.data_type == onnx.TensorProto.UINT8 for tensor in weights.values())
    dequantizers = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    assert dequantizers
    for node in graph.node:
        assert node.domain == ""
        stored = [weights[name] for name in node.input if name in weights]
        if node.op_type != "DequantizeLinear":
            assert not any(tensor.data_type in codes for tensor in stored)
            continue
        weight, scales = stored
        assert scales.data_type == onnx.TensorProto.FLOAT
        attributes = {a.name: a.i for a in node.attribute}
        block = attributes.get("block_size", 0)
        assert bool(block) == (weight.data_type == onnx.TensorProto.INT4)
        if block:
            assert block in TENSORRT_BLOCKS
            (reader,) = [other for other in graph.node if node.output[0] in other.input]
            assert reader.op_type in ("MatMul", "Gemm", "Transpose")
            assert weight.dims[attributes["axis"]] % block == 0


@pytest.mark.slow
def test_what_is_chosen_for_tensorrt_exports(quantizer: Quantizer, tmp_path: Path) -> None:
    quantizer.apply(max_loss=1.0, target="tensorrt")
    report = quantizer.export_onnx(tmp_path / "mixed.onnx")
    check_tensorrt(report.path)
    assert not any("stored as" in note for note in report.notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "example"),
    [
        (rounded(Cnn(), ("int8", "fp16", "int8", "fp32")), torch.randn(2, 3, 12, 12)),
        (rounded(bert(), {"linear": "int4g64", "embedding": "int8"}, tokens()), tokens()),
        (rounded(bert(), {"linear": "int3", "embedding": "fp16"}, tokens()), tokens()),
        (rounded(vit(), ("int4", "int8", "int4g128", "fp16")), torch.randn(2, 5, 64)),
        (rounded(Tied(), "int8"), torch.randint(0, 50, (2, 3))),
    ],
    ids=["cnn", "bert int4", "bert int3", "vit", "tied"],
)
def test_exports_for_tensorrt_keep_to_its_rules(
    model: nn.Module, example: Any, tmp_path: Path
) -> None:
    report = export_onnx(model, example, tmp_path / "model.onnx", target="tensorrt")
    assert report.difference <= 1e-4
    check_tensorrt(report.path)


@pytest.mark.slow
def test_int4_per_channel_becomes_blocks_of_the_same_values(tmp_path: Path) -> None:
    model = rounded(nn.Sequential(nn.Linear(192, 8), nn.Linear(8, 4)), ("int4", "int8"))
    path = tmp_path / "model.onnx"
    report = export_onnx(model, torch.randn(2, 192), path, target="tensorrt")
    assert report.notes == ("one scale per channel is repeated for each INT4 block: 0",)
    (node,) = [n for n in onnx.load(path).graph.node if n.input[0] == "0.weight.codes"]
    assert {a.name: a.i for a in node.attribute} == {"axis": 1, "block_size": 64}
    assert report.difference < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schemes", "problems"),
    [
        (
            {"conv": "int8", "stem": "int4", "grouped": "int3", "linear": "int8g32"},
            {
                "stem": "linear layers only",
                "grouped": "INT3 is for linear",
                "head": "INT8 takes one scale per channel",
            },
        ),
        ({"conv": "fp16", "linear": "int4g32"}, {"head": "must be 64 or 128, not 32"}),
        ({"conv": "fp16", "linear": "int4"}, {"head": "32 columns do not divide into INT4 blocks"}),
    ],
)
def test_what_it_cannot_take_is_refused_with_a_remedy_that_works(
    schemes: dict[str, str], problems: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(InputError) as caught:
        export_onnx(rounded(Cnn(), schemes), torch.randn(2, 3, 12, 12), path, target="tensorrt")
    assert not path.exists()
    for name, problem in problems.items():
        assert re.search(f"{name}: [^;]*{problem}", str(caught.value))
    keep = dict(re.findall(r'"(\w+)": "(\w+)"', str(caught.value)))
    assert set(problems) <= set(keep)
    model = rounded(Cnn(), schemes | keep)
    assert export_onnx(model, torch.randn(2, 3, 12, 12), path, target="tensorrt").nbytes


def test_a_scheme_that_it_does_not_take_is_refused_with_the_reason(quantizer: Quantizer) -> None:
    with pytest.raises(InputError, match=r"stem: INT4 is for linear layers only"):
        quantizer.apply("int4", target="tensorrt")
    with pytest.raises(InputError, match=r"got 'coreml'.*onnxruntime, tensorrt"):
        quantizer.apply("int8", target="coreml")


@pytest.mark.parametrize(
    ("target", "scheme", "kind", "n_columns", "n_groups", "reason"),
    [
        ("onnxruntime", INT5, "linear", 64, 1, "stored as INT8"),
        ("onnxruntime", Scheme(3), "linear", 64, 1, "stored as INT4"),
        ("tensorrt", Scheme(8, 64), "linear", 64, 1, "not groups"),
        ("tensorrt", Scheme(4, 32), "linear", 64, 1, "must be 64 or 128"),
        ("tensorrt", INT8, "transposed", 64, 2, "transposed layers of 2 groups"),
        ("tensorrt", Scheme(4, 64), "embedding", 64, 1, "not embedding"),
        ("openvino", INT4, "conv", 64, 1, "not conv layers"),
    ],
)
def test_reasons(
    target: str, scheme: Scheme, kind: str, n_columns: int, n_groups: int, reason: str
) -> None:
    found = takes(target, scheme, kind, n_columns, n_groups)
    assert found
    assert reason in found


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_takes_int8_of_linear_layers(target: str) -> None:
    assert takes(target, INT8, "linear", 30) is None
    assert takes(target, Scheme(4, 64), "linear", 128) is None
