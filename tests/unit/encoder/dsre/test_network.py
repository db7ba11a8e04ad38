"""The sparse forward of every family of encoders against the dense one, in batches, as ONNX."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from transformers import AutoConfig, AutoModel, GPT2Config, GPT2Model

from encoder.dsre.adapters import blocks_of
from encoder.dsre.fitting.judge import saving
from encoder.dsre.gatefile import GateFile
from encoder.dsre.merge import Matching, Tokens, choose, match, merge_tokens
from encoder.dsre.network import Pooling, SparseEncoder, changed
from encoder.dsre.settings import GateSettings
from encoder.errors import ModelError
from encoder.models.sparsity import write_sparse
from encoder.networks.bert import BertSize, SentenceBert, arrays_of
from encoder.runtime.onnx import OnnxSession

N_TOKENS, N_LAYERS, D = 400, 3, 32
SIZE = {
    "vocab_size": N_TOKENS, "hidden_size": D, "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 160,
    "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3,
}  # fmt: skip
LOCAL = ["sliding_attention", "full_attention", "sliding_attention"]
GROUPED = {"num_key_value_heads": 2, "head_dim": 8, "layer_types": LOCAL, "sliding_window": 20}
KINDS: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {},
    "xlm-roberta": {},
    "camembert": {},
    "distilbert": {"dim": D, "n_layers": N_LAYERS, "n_heads": 4, "hidden_dim": 48},
    "electra": {"embedding_size": 16},
    "mpnet": {},
    "nomic_bert": {},
    "modernbert": {"local_attention": 20, "layer_types": LOCAL},
    "gemma3_text": {**GROUPED, "use_bidirectional_attention": True},
    "embedding_gemma2_text": {
        **GROUPED, "global_head_dim": 8, "hidden_size_per_layer_input": 8, "embedding_dim": 24,
    },
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
}  # fmt: skip
IDLE = GateFile(
    np.full(N_TOKENS, 255, np.uint8), GateSettings((1.0,) * N_LAYERS, 1.0, min_tokens=10)
)
GATE = GateFile(np.zeros(N_TOKENS, np.uint8), GateSettings((0.6, 0.5, None), min_tokens=30))


def make(kind: str) -> Any:
    torch.manual_seed(0)
    made = AutoModel.from_config(AutoConfig.for_model(kind, **{**SIZE, **KINDS[kind]})).eval()
    with torch.no_grad():
        words = made.get_input_embeddings().weight
        # some words are alike and some are not, like real ones
        words.copy_(0.3 * torch.randn_like(words) + torch.randn(4, words.shape[1]).repeat(100, 1))
        for block in getattr(made, "layers", []):
            if hasattr(block, "layer_scalar"):
                block.layer_scalar.fill_(0.9)
    return made


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, Tensor]:
    """Two texts of 121 and 64 tokens, padded on the right."""
    ids = torch.randint(5, N_TOKENS, (2, 121), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(121) < torch.tensor([[121], [64]])).float()
    return torch.where(mask > 0, ids, 1), mask


POOLINGS: dict[str, Pooling] = {"qwen3": "last", "bert": "cls", "camembert": "cls"}
"""The others take the mean."""


def dense(kind: str, batch: tuple[Tensor, Tensor]) -> Tensor:
    input_ids, mask = batch
    states = make(kind)(input_ids, attention_mask=mask.long()).last_hidden_state
    vectors = {
        "last": states[torch.arange(2), mask.long().sum(1) - 1],
        "cls": states[:, 0],
        "mean": (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True),
    }
    return vectors[POOLINGS.get(kind, "mean")]


@pytest.mark.parametrize("kind", KINDS)
def test_an_idle_gate_gives_what_the_model_gives(kind: str, batch: tuple[Tensor, Tensor]) -> None:
    sparse = SparseEncoder(make(kind), IDLE, pooling=POOLINGS.get(kind, "mean")).eval()
    with torch.inference_mode():
        expected = dense(kind, batch)
        found, kept = sparse(*batch)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)
    assert (kept == torch.tensor([[121], [64]])).all()


@pytest.mark.parametrize("kind", KINDS)
def test_merging_saves_work_and_keeps_the_direction(
    kind: str, batch: tuple[Tensor, Tensor]
) -> None:
    sparse = SparseEncoder(make(kind), GATE, pooling=POOLINGS.get(kind, "mean")).eval()
    with torch.inference_mode():
        expected = dense(kind, batch)
        found, kept = sparse(*batch)
        alone, kept_alone = sparse(batch[0][1:, :64], batch[1][1:, :64])
    assert found.shape == expected.shape
    assert saving(sparse, [range(121), range(64)], kept.numpy()) > 1.15
    assert cosine_similarity(found, expected).min() > 0.8
    # each text gets the same tokens in any batch
    assert torch.equal(kept[1:], kept_alone)
    torch.testing.assert_close(found[1:], alone, rtol=1e-4, atol=1e-5)


def test_merging_leaves_cls_as_the_whole_last_layer_would(batch: tuple[Tensor, Tensor]) -> None:
    gate = replace(GATE, settings=replace(GATE.settings, thresholds=(None, 0.5, None)))
    cls, mean = (SparseEncoder(make("bert"), gate, pooling=p).eval() for p in ("cls", "mean"))
    seen: list[Tensor] = []
    mean._pool = lambda tokens: seen.append(tokens.states[:, 0]) or tokens.states[:, 0]
    with torch.inference_mode():
        (found, kept), (_, also) = cls(*batch), mean(*batch)
    torch.testing.assert_close(found, seen[0], rtol=1e-5, atol=1e-6)
    assert torch.equal(kept, also)
    assert kept[0, -1] < 121


def test_a_merged_token_stands_at_the_mean_position() -> None:
    states = torch.tensor([[[9.0, 9.0, 0], [1, 0, 1], [1, 0, 2], [0, 1, 3], [5, 1, 4], [0, 9, 5]]])
    sizes = torch.tensor([[1.0, 3, 1, 1, 1, 1]])
    tokens = Tokens(states, sizes, torch.zeros(1, 6))
    merged = merge_tokens(tokens, torch.tensor([2]), 0.99, Matching(width=2))
    assert merged.states[0, 1].tolist() == [1.0, 0.0, 1.25]
    assert merged.sizes[0, :5].tolist() == [1.0, 4.0, 1.0, 1.0, 1.0]


def test_causal_networks_merge_into_later_tokens_only() -> None:
    random = torch.Generator().manual_seed(0)
    states = torch.randn(3, 20, 4, generator=random)
    real = torch.arange(20) < torch.tensor([[20], [13], [6]])
    tokens = Tokens(states, real.float(), torch.zeros(3, 20))
    similarity, partner = match(tokens, Matching(later_only=True))
    merged = choose(similarity, tokens.sizes, torch.tensor([1, 1, 1]), 0.0)
    assert merged.sum() > 5
    source, target = 2 * torch.arange(10) + 1, 2 * partner
    assert (target > source)[merged].all()
    last = real.sum(1, keepdim=True) - 1
    assert (target < last)[merged].all()
    assert blocks_of(make("qwen3")).matching.later_only


def test_floor_holds_for_a_text_of_one_word() -> None:
    torch.manual_seed(0)
    settings = GateSettings((None, *[0.0] * 5), protection=0.0)
    network = SentenceBert(BertSize(500, hidden_dim=32, ffn_dim=64, n_layers=6, n_heads=4))
    greedy = SparseEncoder(network, GateFile(np.zeros(500, np.uint8), settings)).eval()
    input_ids = torch.tensor([[101, *[273] * 198, 102]])
    with torch.inference_mode():
        _, kept = greedy(input_ids, torch.ones(input_ids.shape))
    assert kept[0, -1] == 24


def test_onnx_equals_torch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = SentenceBert(BertSize(500, hidden_dim=32, ffn_dim=64, n_layers=3, n_heads=4)).eval()
    gate = GateFile(np.zeros(500, np.uint8), GateSettings((0.7, 0.5, 0.45)))
    sparse = SparseEncoder(small, gate)
    write_sparse(arrays_of(small), gate, tmp_path / "sparse.onnx", int8=False)
    session = OnnxSession(tmp_path / "sparse.onnx", n_threads=1)
    mask = (torch.arange(512) < torch.tensor([[350], [512], [60], [177]])).float()
    texts = torch.randint(1, 500, mask.shape) * mask.long()
    short = (texts[2:3, :15], mask[2:3, :15])
    for input_ids, of_ids in ((texts, mask), (texts[:1, :333], mask[:1, :333]), short):
        with torch.inference_mode():
            expected, expected_kept = sparse(input_ids, of_ids)
        found, kept = session.run({"input_ids": input_ids.numpy(), "mask": of_ids.numpy()})
        assert np.array_equal(kept, expected_kept.numpy())
        assert cosine_similarity(torch.from_numpy(found), expected).min() > 0.9996
    assert sparse(texts, mask)[1][1, -1] < 400


def test_unknown_architecture() -> None:
    config = GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=1)
    for network, name in ((GPT2Model(config), "gpt2"), (nn.Linear(2, 2), "Linear")):
        with pytest.raises(ModelError, match=rf"'{name}'.*enable_dsre=False"):
            SparseEncoder(network, GATE)


UP = np.array([[1.0], [0.0], [2.0], [0.0]], np.float16)
DOWN = np.array([[0.5, 0.0, 0.0, 0.25]], np.float16)
DELTAS = {
    "layers.1.query.weight:up": UP,
    "layers.1.query.weight:down": DOWN,
    "layers.0.ffn_in.bias": np.full(8, 0.5, np.float16),
}


@pytest.fixture
def plain() -> SentenceBert:
    torch.manual_seed(0)
    size = BertSize(vocab_size=50, hidden_dim=4, ffn_dim=8, n_layers=3, n_heads=2)
    return SentenceBert(size).eval()


def test_a_copy_changes_and_the_network_stays(plain: SentenceBert) -> None:
    before = {name: value.clone() for name, value in plain.named_parameters()}
    after = dict(changed(plain, DELTAS).named_parameters())
    for name, value in plain.named_parameters():
        assert torch.equal(value, before[name])
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"layers.1.query.weight", "layers.0.ffn_in.bias"}
    difference = (after["layers.1.query.weight"] - before["layers.1.query.weight"]).numpy(
        force=True
    )
    assert difference == pytest.approx(UP.astype("f4") @ DOWN.astype("f4"), abs=1e-6)
    assert changed(plain, {}) is plain


@pytest.mark.parametrize(
    "deltas",
    [
        {"layers.7.ffn_in.bias": np.zeros(8, np.float16)},
        {"layers.0.ffn_in.bias": np.zeros(9, np.float16)},
        {"layers.0.key.weight:up": np.zeros((4, 1), np.float16),
         "layers.0.key.weight:down": np.zeros((1, 5), np.float16)},
    ],
)  # fmt: skip
def test_changes_of_another_network(plain: SentenceBert, deltas: dict[str, np.ndarray]) -> None:
    with pytest.raises(ModelError, match="gate distill"):
        changed(plain, deltas)


def test_the_sparse_network_runs_with_them(plain: SentenceBert) -> None:
    gate = GateFile(np.zeros(50, np.uint8), GateSettings((None, 1.0, 1.0)), deltas=DELTAS)
    input_ids, mask = torch.arange(12)[None], torch.ones(1, 12)
    with torch.inference_mode():
        found, _ = SparseEncoder(plain, gate).eval()(input_ids, mask)
        expected = changed(plain, DELTAS)(input_ids, mask)
        unchanged = plain(input_ids, mask)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, unchanged, atol=1e-3)
