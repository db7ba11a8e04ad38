"""The sparse forward in float32 against torch, and in int8 against float32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from encoder.dsre.gatefile import GateFile
from encoder.dsre.settings import GateSettings
from encoder.errors import ModelError
from encoder.models.sparsity import write_sparse
from encoder.networks.bert import SentenceBert, arrays_of
from encoder.onnx.bert import BertSize
from encoder.runtime.onnx import OnnxSession
from tests.support.merging_in_torch import SparseEncoder

SIZE = BertSize(vocab_size=500, hidden_dim=32, ffn_dim=64, n_layers=3, n_heads=4)
SETTINGS = GateSettings((0.6, 0.5, 0.4), min_tokens=20)


@pytest.fixture(scope="module")
def dense() -> SentenceBert:
    torch.manual_seed(0)
    return SentenceBert(SIZE).eval()


@pytest.fixture(scope="module")
def gate() -> GateFile:
    rarity = np.random.default_rng(0).integers(0, 60, 500).astype(np.uint8)
    return GateFile(rarity, SETTINGS)


@pytest.fixture(scope="module")
def session(
    dense: SentenceBert, gate: GateFile, tmp_path_factory: pytest.TempPathFactory
) -> OnnxSession:
    target = tmp_path_factory.mktemp("int8") / "sparse.onnx"
    write_sparse(arrays_of(dense), gate, target, int8=True)
    return OnnxSession(target, n_threads=1)


@pytest.fixture(scope="module")
def batch() -> dict[str, np.ndarray]:
    """Three texts of 61, 25 and 40 tokens."""
    rng = np.random.default_rng(1)
    mask = (np.arange(61) < np.array([[61], [25], [40]])).astype(np.float32)
    return {"input_ids": rng.integers(1, 500, (3, 61)) * mask.astype(np.int64), "mask": mask}


def test_graphs_merge_as_the_network_that_is_trained(dense: SentenceBert, tmp_path: Path) -> None:
    torch.manual_seed(0)
    deltas = {"layers.1.ffn_in.bias": np.full(64, 0.5, np.float16)}
    gate = GateFile(np.zeros(500, np.uint8), GateSettings((0.7, None, 0.45)), deltas=deltas)
    sparse = SparseEncoder(dense, gate)
    write_sparse(arrays_of(dense), gate, tmp_path / "sparse.onnx", int8=False)
    session = OnnxSession(tmp_path / "sparse.onnx", n_threads=1)
    mask = (torch.arange(512) < torch.tensor([[350], [512], [177]])).float()
    texts = torch.randint(1, 500, mask.shape) * mask.long()
    for input_ids, of_ids in ((texts, mask), (texts[:1, :333], mask[:1, :333])):
        with torch.inference_mode():
            expected, expected_kept = sparse(input_ids, of_ids)
        found, kept = session.run({"input_ids": input_ids.numpy(), "mask": of_ids.numpy()})
        assert np.array_equal(kept, expected_kept.numpy())
        assert cosine_similarity(torch.from_numpy(found), expected).min() > 0.9996
    assert expected_kept[0, -1] < 250


def test_agrees_with_float(
    session: OnnxSession,
    dense: SentenceBert,
    gate: GateFile,
    batch: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    found, kept = session.run(batch)
    write_sparse(arrays_of(dense), gate, tmp_path / "float.onnx", int8=False)
    expected, expected_kept = OnnxSession(tmp_path / "float.onnx", n_threads=1).run(batch)
    assert cosine_similarity(*map(torch.from_numpy, (found, expected))).min() > 0.99
    assert np.abs(kept - expected_kept).max() <= 2
    assert kept[0, -1] < 50


def test_each_row_equals_its_batch_of_one(
    session: OnnxSession, batch: dict[str, np.ndarray]
) -> None:
    together, kept = session.run(batch)
    for row, length in enumerate((61, 25, 40)):
        one = {name: value[row : row + 1, :length] for name, value in batch.items()}
        alone, kept_alone = session.run(one)
        assert np.array_equal(kept_alone[0], kept[row])
        # padding in a batch needs a mask, which rounds otherwise
        np.testing.assert_allclose(alone[0], together[row], atol=2e-3)


def test_changed_weights_are_quantized(
    dense: SentenceBert, gate: GateFile, batch: dict[str, np.ndarray], tmp_path: Path
) -> None:
    shift = np.random.default_rng(2).normal(0, 0.5, 32).astype(np.float16)
    distilled = replace(gate, deltas={"layers.2.ffn_norm.bias": shift})
    write_sparse(arrays_of(dense), distilled, tmp_path / "distilled.onnx", int8=True)
    found, _ = OnnxSession(tmp_path / "distilled.onnx", n_threads=1).run(batch)
    write_sparse(arrays_of(dense), gate, tmp_path / "plain.onnx", int8=True)
    plain, _ = OnnxSession(tmp_path / "plain.onnx", n_threads=1).run(batch)
    # the last norm's shift moves each embedding by the same amount
    np.testing.assert_allclose(found - plain, np.tile(shift, (3, 1)), atol=2e-3)


def test_a_gate_of_another_network(dense: SentenceBert, tmp_path: Path) -> None:
    other = GateFile(np.zeros(7, np.uint8), SETTINGS)
    with pytest.raises(ModelError, match="7 tokens"):
        write_sparse(arrays_of(dense), other, tmp_path / "x.onnx", int8=True)
