"""Encoders beyond BERT: relative and rotary positions, windows, causal ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from transformers import AutoConfig, AutoModel

from encoder.dsre.adapters import blocks_of
from encoder.dsre.fitting.judge import saving
from encoder.dsre.gatefile import GateFile
from encoder.dsre.merge import Matching, Tokens, choose, match, merge_tokens
from encoder.dsre.network import Pooling, SparseEncoder
from encoder.dsre.settings import GateSettings

N_TOKENS, N_LAYERS, D = 400, 3, 32
SIZE = {
    "vocab_size": N_TOKENS, "hidden_size": D, "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 160,
    "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3,
}  # fmt: skip
LOCAL = ["sliding_attention", "full_attention", "sliding_attention"]
GROUPED = {"num_key_value_heads": 2, "head_dim": 8, "layer_types": LOCAL, "sliding_window": 20}
KINDS: dict[str, dict[str, Any]] = {
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


def pooling_of(kind: str) -> Pooling:
    return "last" if kind == "qwen3" else "mean"


def dense(kind: str, batch: tuple[Tensor, Tensor]) -> Tensor:
    input_ids, mask = batch
    states = make(kind)(input_ids, attention_mask=mask.long()).last_hidden_state
    if pooling_of(kind) == "last":
        last: Tensor = states[torch.arange(2), mask.long().sum(1) - 1]
        return last
    mean: Tensor = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    return mean


@pytest.mark.parametrize("kind", KINDS)
def test_an_idle_gate_gives_what_the_model_gives(kind: str, batch: tuple[Tensor, Tensor]) -> None:
    sparse = SparseEncoder(make(kind), IDLE, pooling=pooling_of(kind)).eval()
    with torch.inference_mode():
        expected = dense(kind, batch)
        found, kept = sparse(*batch)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)
    assert (kept == torch.tensor([[121], [64]])).all()


@pytest.mark.parametrize("kind", KINDS)
def test_merging_saves_work_and_keeps_the_direction(
    kind: str, batch: tuple[Tensor, Tensor]
) -> None:
    sparse = SparseEncoder(make(kind), GATE, pooling=pooling_of(kind)).eval()
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
