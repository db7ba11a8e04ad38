"""Operators that exporters split up: found, and giving the same result once fused again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import transformers
from onnx import helper
from torch import Tensor, nn

from encoder.onnx.affine import fold_affine, normalize_affine
from encoder.onnx.fuse import fuse
from encoder.onnx.network import OnnxNetwork
from encoder.quant.tracing import trace
from encoder.runtime.onnx import OnnxSession
from tests.support.onnx_files import save_network

from .conftest import SIZE, texts

AXES = {"input_ids": (0, 1), "attention_mask": (0, 1)}


class States(nn.Module):
    """The last hidden states, with zeros for padding."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.model(input_ids=input_ids, attention_mask=attention_mask)
        kept: Tensor = states.last_hidden_state * attention_mask.unsqueeze(2)
        return kept


def _modernbert() -> nn.Module:
    config = transformers.ModernBertConfig(
        vocab_size=99, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, local_attention=16, layer_types=None, pad_token_id=0,
        global_attn_every_n_layers=2,
    )  # fmt: skip
    return transformers.ModernBertModel(config)


def _qwen3() -> nn.Module:
    """Grouped queries, RMS norms also of queries and keys, a causal mask."""
    config = transformers.Qwen3Config(
        vocab_size=99, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16,
    )  # fmt: skip
    return transformers.Qwen3Model(config)


MODELS = {"modernbert": _modernbert, "qwen3": _qwen3}
FOUND = {
    "modernbert": {"attention": 2, "gelu": 2},
    "qwen3": {"attention": 2, "gelu": 0},
}


def rewrite(source: Path, target: Path) -> dict[str, int]:
    network = OnnxNetwork(source, target)
    found = fuse(network)
    network.save()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_decomposed_network_is_put_together(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = States(MODELS[name]()).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    ids, mask = torch.randint(1, 99, (2, 9)), torch.ones(2, 9, dtype=torch.int64)
    program = trace(model, {"input_ids": ids, "attention_mask": mask}, AXES)
    program.optimize()
    source, target = tmp_path / "model.onnx", tmp_path / "fused.onnx"
    program.save(source)

    assert rewrite(source, target) == FOUND[name]

    ops = Counter(node.op_type for node in onnx.load(target).graph.node)
    assert not {"Softmax", "Gelu", "IsNaN"} & {*ops}
    # nothing padded, a text so much longer that its neighbour's padding sees no token at all, and
    # texts that need a different operator
    for lengths in ((13,), (30, 5), (600,), (600, 20)):
        width = max(lengths)
        inputs = {
            "input_ids": np.random.default_rng(0).integers(1, 99, (len(lengths), width)),
            "attention_mask": np.stack([np.arange(width) < n for n in lengths]).astype(np.int64),
        }
        wanted, found = (OnnxSession(p, n_threads=1).run(inputs)[0] for p in (source, target))
        assert np.abs(wanted - found).max() < 3e-3 * np.abs(wanted).max()  # GELU is approximated


def test_bert_is_put_together(exports: Path, tmp_path: Path) -> None:
    source, target = exports / "dynamo.onnx", tmp_path / "fused.onnx"
    assert rewrite(source, target) == {"attention": SIZE.n_layers, "gelu": SIZE.n_layers}
    inputs = texts(30, 4, 17)
    wanted, fused = (OnnxSession(path, n_threads=1).run(inputs)[0] for path in (source, target))
    assert np.abs(wanted - fused).max() < 3e-3 * np.abs(wanted).max()


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
    floats = {name: array.astype(np.float32) for name, array in arrays.items()}
    before = folder / "before.onnx"
    save_network(before, nodes, floats, {"x": [1, 3, 9, 9]}, outputs, opset=14)
    return OnnxNetwork(before, folder / "after.onnx")


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
