"""The pass that merges tokens, over graphs of the real classes at a small size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from encoder.dsre.gatefile import GateFile
from encoder.dsre.settings import GateSettings
from encoder.errors import ModelError
from encoder.models.hub import open_joint
from encoder.models.spec import ModelSpec
from encoder.onnx.merging import THRESHOLDS, shape_of_encoder
from encoder.prepare.gates.subjects import HubText, pooling_of
from encoder.runtime.onnx import OnnxSession
from encoder.towers.exported import text_inputs
from tests.support import tiny_models as tiny

N_LAYERS = 3
LOCAL = ["sliding_attention", "full_attention", "sliding_attention"]
KINDS: dict[str, dict[str, Any]] = {
    "bert": {},
    "distilbert": {"dim": 32, "n_layers": N_LAYERS, "n_heads": 2, "hidden_dim": 64},
    "mpnet": {},  # a bias for each distance
    "modernbert": {"local_attention": 20, "layer_types": LOCAL},  # rotary, with windows
    "gemma3_text": {
        "num_key_value_heads": 1, "head_dim": 16, "use_bidirectional_attention": True,
        "sliding_window": 20, "layer_types": LOCAL,
    },
    "qwen3": {},  # causal
    "embedding_gemma": {},  # reads its embeddings again in each layer
}  # fmt: skip
NEVER = np.full(N_LAYERS, 2.0, np.float32)
IDS = np.random.default_rng(0).integers(45, 70, (2, 41))


def save(kind: str, folder: Path) -> ModelSpec:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        if kind == "embedding_gemma":
            tiny.save_embedding_gemma(folder, n_layers=N_LAYERS)
        else:
            size = {"num_hidden_layers": N_LAYERS, "max_position_embeddings": 200}
            tiny.save_text_encoder(folder, kind, **size, **KINDS[kind])
    return ModelSpec.parse(f"dir:{folder}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_family_merges(kind: str, tmp_path: Path) -> None:
    text = HubText(save(kind, tmp_path / "model"), tmp_path)
    assert text.shape.n_layers == N_LAYERS
    settings = GateSettings((0.05, None, 0.05), protection=0.0)
    gate = GateFile(np.zeros(text.vocab_size, np.uint8), settings)
    text.write(gate, tmp_path / "merging.onnx", "float32")
    text.write(gate, tmp_path / "int8.onnx", "int8")
    nodes = onnx.load(tmp_path / "int8.onnx", load_external_data=False).graph.node
    is_whole = "Softmax" not in {node.op_type for node in nodes}  # attention is one operator
    assert is_whole == (kind != "mpnet")  # which adds two biases
    dense, merging, int8 = (
        OnnxSession(tmp_path / f"{name}.onnx", n_threads=1) for name in ("text", "merging", "int8")
    )

    def inputs(ids: np.ndarray) -> dict[str, np.ndarray]:
        return dict(text_inputs(text.facts["inputs"], text.facts["soft_dim"], ids))

    # Gemma's random embeddings of each layer leave less when half of the tokens are merged.
    least = 0.85 if kind == "embedding_gemma" else 0.9
    for ids in (IDS, IDS[:, :40]):
        length = ids.shape[1]
        (expected,) = dense.run(inputs(ids))
        same, kept = merging.run({**inputs(ids), THRESHOLDS: NEVER})
        np.testing.assert_allclose(same, expected, atol=2e-6)
        assert (kept == length).all()
        found, kept = merging.run(inputs(ids))
        assert (kept[:, 0] == kept[:, 1]).all()
        assert (kept[:, 0] < 0.65 * length).all()
        assert (kept[:, 2] < 0.75 * kept[:, 1]).all()
        assert (found * expected).sum(1).min() > least
        rounded, kept_int8 = int8.run(inputs(ids))
        assert (rounded * found).sum(1).min() > 0.9
        assert np.abs(kept_int8 - kept).max() <= 3
        for row in range(2):  # whatever else is in the batch
            alone, kept_alone = merging.run(inputs(ids[row : row + 1]))
            np.testing.assert_allclose(alone[0], found[row], atol=2e-6)
            assert np.array_equal(kept_alone[0], kept[row])


def test_a_gate_of_another_network(tmp_path: Path) -> None:
    text = HubText(ModelSpec.parse(f"dir:{tiny.save('sentence', tmp_path / 'model')}"), tmp_path)
    gate = GateFile(np.zeros(30522, np.uint8), GateSettings((0.5,) * 6))
    with pytest.raises(ModelError, match="for 6 layers and 30522 tokens"):
        text.write(gate, tmp_path / "merging.onnx", "float32")


@pytest.mark.parametrize(
    ("kind", "why"),
    [("static", "not a text encoder with pooling"), ("clip", "not a text encoder")],
)
def test_models_that_take_no_gate(kind: str, why: str, tmp_path: Path) -> None:
    spec = ModelSpec.parse(f"dir:{tiny.save(kind, tmp_path / 'model')}")
    with pytest.raises(ModelError, match=why):
        HubText(spec, tmp_path)


def test_poolings_that_a_gate_does_not_know(tmp_path: Path) -> None:
    model = open_joint(str(tiny.save("sentence", tmp_path)), None, "cpu")[1].model
    model[1].pooling_mode = "max"
    with pytest.raises(ModelError, match="pools by 'max'"):
        pooling_of("it", model)
    model[1].pooling_mode, model[1].include_prompt = "mean", False
    with pytest.raises(ModelError, match="excludes its prompt"):
        pooling_of("it", model, "passage: ")


def test_a_graph_without_attention(tmp_path: Path) -> None:
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", "length", 4])
        for name in ("states", "sum")
    ]
    node = onnx.helper.make_node("Add", ["states", "states"], ["sum"])
    graph = onnx.helper.make_graph([node], "it", values[:1], values[1:])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "it.onnx")
    with pytest.raises(ModelError, match="no attention was found"):
        shape_of_encoder(tmp_path / "it.onnx")
