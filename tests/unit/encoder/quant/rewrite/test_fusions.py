"""Operators that exporters take apart: found, and worth the same once they are one again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import transformers
from torch import Tensor, nn

from encoder.quant.rewrite.fusions import fuse
from encoder.quant.rewrite.network import Network
from encoder.runtime.export import trace
from encoder.runtime.onnx import OnnxSession

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
    "modernbert": {"norm": 0, "rotary": 4, "attention": 2, "gelu": 2},
    "qwen3": {"norm": 9, "rotary": 4, "attention": 2, "gelu": 0},
}


def rewrite(source: Path, target: Path) -> dict[str, int]:
    network = Network(source, target)
    found = fuse(network)
    network.save()
    return found


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
    assert not {"Softmax", "Gelu", "Pow", "IsNaN"} & {*ops}
    # nothing padded, and a text so much longer that its neighbour's padding sees no token at all
    for lengths in ((13,), (30, 5)):
        width = max(lengths)
        inputs = {
            "input_ids": np.random.default_rng(0).integers(1, 99, (len(lengths), width)),
            "attention_mask": np.stack([np.arange(width) < n for n in lengths]).astype(np.int64),
        }
        wanted, found = (OnnxSession(p, n_threads=1).run(inputs)[0] for p in (source, target))
        assert np.abs(wanted - found).max() < 3e-3 * np.abs(wanted).max()  # GELU is approximated


@pytest.mark.parametrize("form", ["dynamo", "torchscript"])
def test_bert_is_put_together(exports: Path, tmp_path: Path, form: str) -> None:
    source, target = exports / f"{form}.onnx", tmp_path / "fused.onnx"
    found = rewrite(source, target)
    assert found["gelu"] == SIZE.n_layers
    if form == "dynamo":  # TorchScript computes the number of heads as the network runs
        assert found["attention"] == SIZE.n_layers
    inputs = texts(30, 4, 17)
    wanted, fused = (OnnxSession(path, n_threads=1).run(inputs)[0] for path in (source, target))
    assert np.abs(wanted - fused).max() < 3e-3 * np.abs(wanted).max()
