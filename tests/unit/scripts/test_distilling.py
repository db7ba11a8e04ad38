"""Training on a small network: what it minimises, what it leaves alone, that it repeats."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from encoder.dsre.fitting.documents import Document, parted
from encoder.dsre.gatefile import GateFile
from encoder.dsre.settings import GateSettings
from encoder.errors import InputError
from encoder.models.sparsity import write_sparse
from encoder.networks.bert import BertSize, SentenceBert, arrays_of
from encoder.runtime.onnx import OnnxSession
from scripts.distilling import Student, TrainingPlan, batches, bold, distill, objective
from scripts.merging_in_torch import SparseEncoder

WORDS = 200
SETTINGS = GateSettings((None, 0.05, 0.05), protection=0.0, min_tokens=20)
PLAN = TrainingPlan(n_steps=60, n_texts=6, rank=4, rate=5e-3, seed=3)


def network() -> SparseEncoder:
    torch.manual_seed(0)
    size = BertSize(vocab_size=WORDS, hidden_dim=16, ffn_dim=32, n_layers=3, n_heads=2)
    return SparseEncoder(SentenceBert(size), GateFile(np.zeros(WORDS, np.uint8), SETTINGS)).eval()


def texts(seed: int, n: int = 48) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [[1, *rng.integers(3, WORDS, rng.integers(30, 60)), 2] for _ in range(n)]


def train(plan: TrainingPlan) -> Student:
    student, anchors = Student(network(), plan), torch.eye(16)
    some = texts(0)
    drawn = batches([len(one) for one in some], plan.n_texts, np.random.default_rng(plan.seed))
    for step in range(plan.n_steps):
        batch = [some[i] for i in next(drawn)]
        student.learn(step, batch, student.teach(batch), anchors)
    return student


def away(found: Student | None) -> float:
    """1 − cosine of sparse to dense vectors, with texts that no training saw."""
    teacher, gate = Student(network(), PLAN), GateFile(np.zeros(WORDS, np.uint8), SETTINGS)
    if found:
        gate = GateFile(gate.rarity, SETTINGS, deltas=found.deltas())
    sparse = SparseEncoder(network().dense, gate).eval()
    total = 0.0
    for ids in texts(1):
        with torch.inference_mode():
            pooled, kept = sparse(torch.tensor([ids]), torch.ones(1, len(ids)))
        assert kept[0, -1] < len(ids) / 2
        total += 1 - float((normalize(pooled, dim=1) * teacher.teach([ids])).sum())
    return total / 48


@pytest.mark.slow
def test_training_brings_the_sparse_vectors_nearer() -> None:
    assert away(train(PLAN)) < 0.8 * away(None)


def test_a_seed_repeats() -> None:
    short = TrainingPlan(n_steps=3, n_texts=4, rank=2, seed=1)
    first, second = train(short).deltas(), train(short).deltas()
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert all(value.dtype == np.float16 for value in first.values())


def test_the_objective() -> None:
    dense = torch.eye(4)[:2]
    assert float(objective(3 * dense, dense, torch.eye(4), 30.0)) == pytest.approx(0, abs=1e-6)
    turned = dense.roll(1, 0)
    assert float(objective(turned, dense, torch.eye(4)[2:], 30.0)) == pytest.approx(1)
    # its own anchor is the nearest by far, and the vector is turned away from it
    assert float(objective(turned, dense, torch.eye(4), 30.0)) == pytest.approx(31, abs=1e-3)


def test_batches_hold_each_text_once_and_like_lengths() -> None:
    lengths = np.random.default_rng(0).integers(128, 512, 200).tolist()
    once = list(islice(batches(lengths, 8, np.random.default_rng(0)), 25))
    assert sorted(np.concatenate(once).tolist()) == list(range(200))
    spread = [max(lengths[i] for i in one) - min(lengths[i] for i in one) for one in once]
    assert max(spread) < 60


def test_the_plan_moves_from_careful_to_wanted() -> None:
    plan = TrainingPlan(n_steps=100, annealed=0.5)
    first, half, last = (plan.gate_at(step, SETTINGS).thresholds for step in (0, 49, 99))
    assert first[0] is None
    assert first[1] > 0.8
    assert half == last == pytest.approx(SETTINGS.thresholds)
    assert TrainingPlan(annealed=0.0).gate_at(0, SETTINGS).thresholds == pytest.approx(last)
    assert plan.rate_at(0) < plan.rate_at(30) > plan.rate_at(99)
    assert plan.rate_at(99) < 0.01 * plan.rate


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_steps": 0}, {"rank": 0}, {"rate": 0.0}, {"rate": float("nan")}, {"n_texts": -1},
        {"annealed": 1.5}, {"annealed": float("nan")},
    ],
)  # fmt: skip
def test_a_plan_that_cannot_train(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        TrainingPlan(**wrong)


def test_graphs_merge_as_the_network_that_is_trained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = SentenceBert(BertSize(500, hidden_dim=32, ffn_dim=64, n_layers=3, n_heads=4)).eval()
    deltas = {"layers.1.ffn_in.bias": np.full(64, 0.5, np.float16)}
    gate = GateFile(np.zeros(500, np.uint8), GateSettings((0.7, None, 0.45)), deltas=deltas)
    sparse = SparseEncoder(small, gate)
    write_sparse(arrays_of(small), gate, tmp_path / "sparse.onnx", int8=False)
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


def spoken(n_words: int, rng: np.random.Generator) -> Document:
    """A title of words that the body repeats among common ones."""
    own = rng.integers(50, 400, 8)
    body = rng.permutation([*rng.integers(10, 50, n_words), *np.repeat(own, 3)])
    return Document(" ".join(map(str, own)), " ".join(map(str, body)))


def test_some_texts_train_others_choose_and_judge() -> None:
    rng = np.random.default_rng(0)
    documents = [spoken(40 if i % 2 else 12, rng) for i in range(600)]
    torch.manual_seed(0)
    size = BertSize(vocab_size=400, hidden_dim=16, ffn_dim=32, n_layers=4, n_heads=2)
    dense, plan = SentenceBert(size).eval(), TrainingPlan(n_steps=4, rank=4, check_every=2)

    def tokenize(texts: list[str]) -> list[list[int]]:
        return [[1, *map(int, text.split()), 2] for text in texts]

    gate = distill(dense, tokenize, documents, plan=plan, max_loss=0.9, min_tokens=60)
    parts = parted(documents)
    assert gate.facts["documents"] == {part: len(found) for part, found in parts.items()}
    assert gate.settings.thresholds == bold(4)
    assert gate.facts["flops_ratio"] > 1.2
    with pytest.raises(InputError, match="max_loss"):
        distill(dense, tokenize, documents, plan=plan, max_loss=1.0, min_tokens=60)
