"""The sparse forward against the dense one, against itself in batches, and as ONNX."""

from __future__ import annotations

from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from transformers import GPT2Config, GPT2Model

from encoder.dsre.gatefile import GateFile, token_rarity
from encoder.dsre.network import SparseEncoder
from encoder.dsre.settings import GateSettings, thresholds
from encoder.errors import ModelError
from encoder.models.bundle.declaration import TEXT_GATE
from encoder.models.sparsity import write_sparse
from encoder.networks.bert import SentenceBert, arrays_of, load_sentence_bert
from encoder.onnx.bert import BertSize
from encoder.runtime.onnx import OnnxSession
from encoder.towers.text import load_tokenizer, pad

LENGTHS = (350, 512, 60, 177)
N_TOKENS = 30522


@pytest.fixture(scope="module")
def ids(bundle_home: Path) -> list[list[int]]:
    """Token ids of chapters of Python's manual, cut at 512."""
    tokenizer = load_tokenizer(bundle_home / "text" / "tokenizer.json", max_tokens=512)
    texts = sorted(topics.values(), key=len)[-24:]
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


@pytest.fixture(scope="module")
def dense(bundle_home: Path) -> SentenceBert:
    return load_sentence_bert(bundle_home / "text")


@pytest.fixture(scope="module")
def gate(ids: list[list[int]]) -> GateFile:
    return GateFile(token_rarity(ids[4:], N_TOKENS), GateSettings(thresholds("I1", 6)))


@pytest.fixture(scope="module")
def sparse(dense: SentenceBert, gate: GateFile) -> SparseEncoder:
    return SparseEncoder(dense, gate).eval()


@pytest.fixture(scope="module")
def batch(ids: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Four texts of `LENGTHS`; the third is too short for the gate."""
    cut = [np.array([*row[: n - 1], row[-1]]) for row, n in zip(ids, LENGTHS, strict=False)]
    input_ids, mask = pad(cut)
    return torch.from_numpy(input_ids), torch.from_numpy(mask)


@pytest.mark.slow
def test_saves_tokens_and_keeps_the_meaning(
    sparse: SparseEncoder, dense: SentenceBert, batch: tuple[Tensor, Tensor]
) -> None:
    with torch.inference_mode():
        embedding, kept = sparse(*batch)
        expected = dense(*batch)
    assert cosine_similarity(embedding, expected).min() > 0.98
    assert (kept[:, 0] == torch.tensor(LENGTHS)).all()
    assert (kept.diff(dim=1) <= 0).all()
    long = torch.tensor([0, 1, 3])
    assert (kept[long, -1] < 0.6 * kept[long, 0]).all()
    assert (kept[2] == LENGTHS[2]).all()


@pytest.mark.slow
def test_each_row_equals_its_batch_of_one(
    sparse: SparseEncoder, batch: tuple[Tensor, Tensor]
) -> None:
    input_ids, mask = batch
    with torch.inference_mode():
        together, kept = sparse(input_ids, mask)
        for i, n in enumerate(LENGTHS):
            alone, kept_alone = sparse(input_ids[i : i + 1, :n], mask[i : i + 1, :n])
            assert torch.equal(kept_alone[0], kept[i])
            assert cosine_similarity(alone[0], together[i], dim=0) > 0.9999


def test_short_texts_are_bit_equal_to_dense(
    sparse: SparseEncoder, dense: SentenceBert, batch: tuple[Tensor, Tensor]
) -> None:
    input_ids, mask = (part[2:3, : LENGTHS[2]] for part in batch)
    with torch.inference_mode():
        assert torch.equal(sparse(input_ids, mask)[0], dense(input_ids, mask))


@pytest.mark.slow
def test_the_bundles_onnx_equals_torch(
    dense: SentenceBert, batch: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    gate = GateFile.load(TEXT_GATE)
    write_sparse(arrays_of(dense), gate, tmp_path / "sparse.onnx", int8=False)
    session = OnnxSession(tmp_path / "sparse.onnx", n_threads=1)
    with torch.inference_mode():
        expected, expected_kept = SparseEncoder(dense, gate).eval()(*batch)
    found, kept = session.run({"input_ids": batch[0].numpy(), "mask": batch[1].numpy()})
    assert cosine_similarity(torch.from_numpy(found), expected).min() > 0.9996
    # a similarity at the threshold may fall to either side
    assert np.abs(kept - expected_kept.numpy()).max() <= 2


def test_floor_holds_for_a_text_of_one_word(dense: SentenceBert, gate: GateFile) -> None:
    settings = GateSettings((None, 0.0, 0.0, 0.0, 0.0, 0.0), protection=0.0)
    greedy = SparseEncoder(dense, GateFile(gate.rarity, settings)).eval()
    input_ids = torch.tensor([[101, *[2773] * 198, 102]])
    with torch.inference_mode():
        _, kept = greedy(input_ids, torch.ones(input_ids.shape))
    assert kept[0, -1] == 24


def test_onnx_equals_torch(batch: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = SentenceBert(BertSize(hidden_dim=32, ffn_dim=64, n_layers=3, n_heads=4)).eval()
    gate = GateFile(np.zeros(N_TOKENS, np.uint8), GateSettings((0.7, 0.5, 0.45)))
    sparse = SparseEncoder(small, gate)
    write_sparse(arrays_of(small), gate, tmp_path / "sparse.onnx", int8=False)
    session = OnnxSession(tmp_path / "sparse.onnx", n_threads=1)
    short = tuple(part[2:3, :15] for part in batch)
    for input_ids, mask in (batch, tuple(part[:1, :333] for part in batch), short):
        with torch.inference_mode():
            expected, expected_kept = sparse(input_ids, mask)
        found, kept = session.run({"input_ids": input_ids.numpy(), "mask": mask.numpy()})
        assert np.array_equal(kept, expected_kept.numpy())
        assert cosine_similarity(torch.from_numpy(found), expected).min() > 0.9996
    assert sparse(*batch)[1][1, -1] < 400


def test_unknown_architecture(gate: GateFile) -> None:
    config = GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=1)
    with pytest.raises(ModelError, match=r"'gpt2'.*enable_dsre=False"):
        SparseEncoder(GPT2Model(config), gate)
    with pytest.raises(ModelError, match=r"'Linear'.*enable_dsre=False"):
        SparseEncoder(nn.Linear(2, 2), gate)


def test_gate_of_another_model(gate: GateFile) -> None:
    small = SentenceBert(BertSize(hidden_dim=32, ffn_dim=64, n_layers=3, n_heads=4))
    with pytest.raises(ModelError, match="6 layers and 30522 tokens"):
        SparseEncoder(small, gate)
