"""Changes of weights, added to a copy of a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from encoder.dsre.gatefile import GateFile
from encoder.dsre.network import SparseEncoder, changed
from encoder.dsre.settings import GateSettings
from encoder.errors import ModelError
from encoder.networks.bert import BertSize, SentenceBert

UP = np.array([[1.0], [0.0], [2.0], [0.0]], np.float16)
DOWN = np.array([[0.5, 0.0, 0.0, 0.25]], np.float16)
DELTAS = {
    "layers.1.query.weight:up": UP,
    "layers.1.query.weight:down": DOWN,
    "layers.0.ffn_in.bias": np.full(8, 0.5, np.float16),
}


@pytest.fixture
def dense() -> SentenceBert:
    torch.manual_seed(0)
    size = BertSize(vocab_size=50, hidden_dim=4, ffn_dim=8, n_layers=3, n_heads=2)
    return SentenceBert(size).eval()


def test_a_copy_changes_and_the_network_stays(dense: SentenceBert) -> None:
    before = {name: value.clone() for name, value in dense.named_parameters()}
    after = dict(changed(dense, DELTAS).named_parameters())
    for name, value in dense.named_parameters():
        assert torch.equal(value, before[name])
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"layers.1.query.weight", "layers.0.ffn_in.bias"}
    difference = (after["layers.1.query.weight"] - before["layers.1.query.weight"]).numpy(
        force=True
    )
    assert difference == pytest.approx(UP.astype("f4") @ DOWN.astype("f4"), abs=1e-6)
    assert changed(dense, {}) is dense


@pytest.mark.parametrize(
    "deltas",
    [
        {"layers.7.ffn_in.bias": np.zeros(8, np.float16)},
        {"layers.0.ffn_in.bias": np.zeros(9, np.float16)},
        {"layers.0.key.weight:up": np.zeros((4, 1), np.float16),
         "layers.0.key.weight:down": np.zeros((1, 5), np.float16)},
    ],
)  # fmt: skip
def test_changes_of_another_network(dense: SentenceBert, deltas: dict[str, np.ndarray]) -> None:
    with pytest.raises(ModelError, match="gate distill"):
        changed(dense, deltas)


def test_the_sparse_network_runs_with_them(dense: SentenceBert) -> None:
    gate = GateFile(np.zeros(50, np.uint8), GateSettings((None, 1.0, 1.0)), deltas=DELTAS)
    input_ids, mask = torch.arange(12)[None], torch.ones(1, 12)
    with torch.inference_mode():
        found, _ = SparseEncoder(dense, gate).eval()(input_ids, mask)
        expected = changed(dense, DELTAS)(input_ids, mask)
        unchanged = dense(input_ids, mask)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, unchanged, atol=1e-3)
