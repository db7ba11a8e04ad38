"""Weights that the Quantizer rounded keep their codes in the rewritten graph."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from encoder import Quantizer
from encoder.networks.bert import SentenceBert
from encoder.onnx.codes import Layout
from encoder.onnx.quantize import StoredWeight, store_weights
from encoder.quant.export_onnx import float_twin, stored_weights
from encoder.quant.quantized import QuantizedModel
from encoder.quant.tracing import trace
from encoder.runtime.onnx import OnnxSession
from encoder.runtime.trial import least_cosine
from tests.support.onnx_files import save_network

from .conftest import AXES, SIZE, texts

pytestmark = pytest.mark.slow

SCHEMES = {
    "word": "int4",
    "layers.0.*": "int4g64",
    "layers.0.ffn_in": "int4",
    "layers.0.ffn_out": "int3",
    "layers.1.*": "int8",
    "layers.1.ffn_in": "int5",
    "layers.1.ffn_out": "int8g64",
}
FLOAT = "layers.1.query"


@pytest.fixture(scope="module")
def quantized(sentence_bert: SentenceBert) -> QuantizedModel:
    return Quantizer(sentence_bert, progress=False).apply({**SCHEMES, FLOAT: "fp32"})


@pytest.fixture(scope="module")
def stored(quantized: QuantizedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    inputs = {"input_ids": torch.randint(0, 99, (2, 7)), "mask": torch.ones(2, 7)}
    program = trace(float_twin(quantized.module), inputs, AXES)
    program.optimize()
    program.save(folder / "float32.onnx")
    weights = stored_weights(quantized.module)
    report = store_weights(folder / "float32.onnx", folder / "model.onnx", weights)
    assert set(report.quantized) == set(weights)
    assert report.skipped == ()
    return folder / "model.onnx"


@pytest.mark.slow
def test_vectors_are_those_of_the_quantized_model(quantized: QuantizedModel, stored: Path) -> None:
    session = OnnxSession(stored, n_threads=1)
    for lengths in ((1,), (40,), (3, 30, 17)):
        inputs = texts(*lengths)
        with torch.inference_mode():
            wanted = quantized(*map(torch.from_numpy, inputs.values()))
        # they differ by activations in 8 bits
        assert least_cosine([wanted.numpy()], session.run(inputs)) > 0.999


def test_each_layer_runs_in_its_bits(stored: Path) -> None:
    graph = onnx.load(stored).graph
    ops = Counter(node.op_type for node in graph.node)
    assert ops["MatMulNBits"] == 6
    assert ops["MatMulIntegerToFloat"] == 5
    assert ops["GatherBlockQuantized"] == 1
    assert ops["MatMul"] + ops["Gemm"] == 1  # the one that stays float32
    assert stored.stat().st_size < 0.5 * SIZE.vocab_size * SIZE.hidden_dim * 4


def test_codes_are_stored_as_they_were_rounded() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-8, 8, (8, 96)).astype(np.int8)
    layout = Layout((8, 96))
    packed, scales, width = StoredWeight(codes, np.ones((8, 3), np.float32), 4, layout).blocks()
    assert (width, packed.shape, scales.shape) == (32, (8, 3, 16), (8, 3))
    unpacked = np.stack([packed & 15, packed >> 4], axis=-1).astype(np.int8) - 8
    np.testing.assert_array_equal(unpacked.reshape(8, 96), codes)

    per_row = StoredWeight(codes, np.full((8, 1), 0.5, np.float32), 4, layout).blocks()
    assert (per_row[2], per_row[1].shape) == (32, (8, 3))


def test_only_rows_that_saturate_are_rounded_again() -> None:
    codes = np.array([[100, 27, -90, -38], [100, 100, 5, 5], [-128, 60, 1, 0]], np.int8)
    weight = StoredWeight(codes, np.full((3, 1), 0.25, np.float32), 8, Layout(codes.shape))

    rows, scales = weight.rows()

    np.testing.assert_array_equal(rows[0], codes[0])
    pairs = np.abs(rows[:, :-1].astype(int) + rows[:, 1:])
    assert pairs.max() <= 128
    assert rows.min() >= -127
    np.testing.assert_allclose(rows * scales[:, None], weight.values(), atol=0.26)


def test_convolutions_are_small_in_the_file(tmp_path: Path) -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 64, 8, stride=8)
            self.head = nn.Linear(64, 32)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.head(self.conv(pixels).flatten(2).mean(-1))
            return found

    torch.manual_seed(0)
    made = Quantizer(Small(), torch.randn(8, 3, 16, 16), progress=False).apply("int6")
    inputs = {"pixels": torch.randn(2, 3, 16, 16)}
    program = trace(float_twin(made.module), inputs, {"pixels": (0,)})
    program.optimize()
    program.save(tmp_path / "float32.onnx")

    weights = stored_weights(made.module)
    report = store_weights(tmp_path / "float32.onnx", tmp_path / "model.onnx", weights)

    assert set(report.quantized) == {"conv.weight", "head.weight"}
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes["model.onnx"] < 0.6 * sum(n for name, n in sizes.items() if "float32" in name)
    found = OnnxSession(tmp_path / "model.onnx", n_threads=1).run(
        {name: value.numpy() for name, value in inputs.items()}
    )
    with torch.inference_mode():
        wanted = made(**inputs)
    assert least_cosine([wanted.numpy()], found) > 0.999


def test_a_layer_with_other_values_stays_float(exports: Path, tmp_path: Path) -> None:
    ones, layout = np.ones((64, 64), np.int8), Layout((64, 64))
    other = StoredWeight(ones, np.ones((64, 1), np.float32), 8, layout)
    source = exports / "dynamo.onnx"
    report = store_weights(source, tmp_path / "m.onnx", {"layers.0.query.weight": other})
    assert report.skipped == ("layers.0.query.weight",)
    run = [OnnxSession(path, n_threads=1).run(texts(5)) for path in (source, tmp_path / "m.onnx")]
    assert least_cosine(*run) > 0.99999


def test_a_weight_whose_outputs_are_cut_apart_keeps_its_codes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-60, 60, (48, 32)).astype(np.int8)
    weight = StoredWeight(codes, np.full((48, 1), 0.01, np.float32), 8, Layout((48, 32)))
    nodes = [
        helper.make_node("MatMul", ["x", "qkv.weight"], ["p"]),
        helper.make_node("Split", ["p"], ["q", "k", "v"], axis=-1, num_outputs=3),
    ]
    source, target = tmp_path / "float32.onnx", tmp_path / "model.onnx"
    floats = {"qkv.weight": np.ascontiguousarray(weight.values().T)}
    save_network(source, nodes, floats, {"x": ["n", 32]}, "qkv")

    report = store_weights(source, target, {"qkv.weight": weight})

    assert (report.quantized, report.skipped) == (("qkv.weight",), ())
    made = [numpy_helper.to_array(t) for t in onnx.load(target).graph.initializer]
    found = [array.T for array in made if array.dtype == np.int8]
    np.testing.assert_array_equal(np.concatenate(found), codes)
