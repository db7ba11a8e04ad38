"""Gates fitted to a small network; the real one is judged by ``benchmarks.dsre``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from encoder.dsre.fitting import distill as module
from encoder.dsre.fitting.calibrate import calibrate
from encoder.dsre.fitting.distill import bold, distill
from encoder.dsre.fitting.documents import Document, part_of, parted
from encoder.dsre.fitting.judge import Judgement, Loss, embed, measure
from encoder.dsre.fitting.tuning import Student, TrainingPlan
from encoder.dsre.gatefile import GateFile
from encoder.dsre.network import SparseEncoder
from encoder.dsre.settings import GateSettings, thresholds
from encoder.errors import InputError, ModelError
from encoder.networks.bert import BertSize, SentenceBert
from encoder.types import Embeddings

PLAN = TrainingPlan(n_steps=30, n_texts=8, rank=4, rate=3e-3, check_every=10)
WORDS = 400


@pytest.fixture(scope="module")
def dense() -> SentenceBert:
    torch.manual_seed(0)
    size = BertSize(vocab_size=WORDS, hidden_dim=16, ffn_dim=32, n_layers=4, n_heads=2)
    return SentenceBert(size).eval()


def tokenize(texts: list[str]) -> list[list[int]]:
    return [[1, *map(int, text.split()), 2] for text in texts]


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    """Titles of words that the body repeats among common ones; every second body is long."""
    rng = np.random.default_rng(0)

    def document(n_words: int) -> Document:
        own = rng.integers(50, WORDS, 8)
        body = rng.permutation([*rng.integers(10, 50, n_words), *np.repeat(own, 3)])
        return Document(" ".join(map(str, own)), " ".join(map(str, body)))

    return [document(40 if i % 2 else 12) for i in range(600)]


def test_fits_on_some_texts_and_judges_with_others(
    dense: SentenceBert, documents: list[Document]
) -> None:
    lines: list[str] = []
    gate = calibrate(dense, tokenize, documents, max_loss=0.9, min_tokens=60, report=lines.append)
    sizes = gate.facts["documents"]
    assert sum(sizes.values()) == len(documents)
    assert sizes["rarity"] == sum(part_of(one) == "rarity" for one in documents)
    judged = [one for one in documents if part_of(one) == "judge" and len(one.body.split()) > 58]
    assert gate.facts["judged"]["n_queries"] == len(judged)
    assert gate.settings.thresholds == thresholds("I1", 4, shift=gate.facts["shift"])
    assert gate.settings.min_tokens == 60
    assert gate.rarity[20] < gate.rarity[200]  # common and rare words
    assert gate.facts["flops_ratio"] > 1
    assert lines[0].startswith("shift +0.00: nDCG@10")
    assert "held-out texts" in lines[-2]


def test_a_loss_that_no_gate_keeps(dense: SentenceBert, documents: list[Document]) -> None:
    backwards = [
        Document(one.title, body)
        for one, body in zip(documents, [d.body for d in documents[1:]], strict=False)
    ]
    with pytest.raises(InputError, match="max_loss"):
        calibrate(dense, tokenize, backwards, max_loss=0.0)
    with pytest.raises(InputError, match="300 tokens or more"):
        calibrate(dense, tokenize, backwards, min_tokens=300)
    with pytest.raises(ModelError, match=r"Raise --max-loss"):
        calibrate(dense, tokenize, documents, max_loss=1e-9, min_tokens=60)


@pytest.mark.slow
def test_trains_with_some_texts_chooses_and_judges_with_others(
    dense: SentenceBert, documents: list[Document]
) -> None:
    before = {name: value.clone() for name, value in dense.named_parameters()}
    lines: list[str] = []
    gate = distill(
        dense, tokenize, documents, plan=PLAN, more=[[1, *[9] * 70, 2], [1, 2]],
        max_loss=0.9, min_tokens=60, report=lines.append,
    )  # fmt: skip
    parts = parted(documents)
    assert gate.facts["documents"] == {part: len(found) for part, found in parts.items()}
    long = [one for one in parts["rarity"] if len(one.body.split()) > 58]
    assert gate.facts["texts"] == len(long) + 1
    assert gate.facts["step"] in (10, 20, 30)
    assert gate.facts["chosen"]["margin"] < gate.facts["before"]["margin"]
    assert gate.settings.thresholds == bold(4)
    assert gate.facts["flops_ratio"] > 1.2
    assert gate.deltas["layers.0.query.weight:up"].shape == (16, 4)
    assert all(torch.equal(value, before[name]) for name, value in dense.named_parameters())
    assert [line.partition(":")[0] for line in lines[:-1]] == [f"step {i}" for i in (0, 10, 20, 30)]
    assert "held-out texts" in lines[-1]


def a_gate() -> GateFile:
    """One whose changes turn the vectors a little."""
    rng = np.random.default_rng(1)
    up, down = rng.normal(0, 0.3, (16, 4)), rng.normal(0, 0.3, (4, 16))
    deltas = {
        "layers.1.attention_out.weight:up": up.astype(np.float16),
        "layers.1.attention_out.weight:down": down.astype(np.float16),
    }
    rarity = np.arange(WORDS, dtype=np.uint16).astype(np.uint8)
    return GateFile(rarity, GateSettings((None, 0.6, 0.5, None), min_tokens=60), deltas=deltas)


def test_goes_on_from_a_gate(
    dense: SentenceBert, documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    start, plan = a_gate(), TrainingPlan(n_steps=1, rank=4, rate=1e-9, annealed=0.0)
    judged: list[Embeddings] = []

    def seen(network: SparseEncoder, judgement: Judgement) -> tuple[Loss, float]:
        judged.append(embed(network, judgement.ids)[0])
        return measure(network, judgement)

    monkeypatch.setattr(module, "measure", seen)
    gate = distill(dense, tokenize, documents, plan=plan, start=start, max_loss=0.9)
    wanted = SparseEncoder(dense, start).eval()
    choosing = [one.body for one in parted(documents)["choose"] if len(one.body.split()) > 58]
    assert np.array_equal(judged[0], embed(wanted, tokenize(choosing))[0])
    assert gate.settings == start.settings
    assert np.array_equal(gate.rarity, start.rarity)
    assert gate.facts["from"] == start.identity
    for name, values in start.deltas.items():
        assert gate.deltas[name] == pytest.approx(values, abs=1e-3)


def test_anchors_are_trained_with(
    dense: SentenceBert, documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[torch.Tensor] = []
    learned = Student.learn

    def learn(self: Student, *given: object) -> float:
        used.append(given[-1])
        return learned(self, *given)

    monkeypatch.setattr(Student, "learn", learn)
    anchors, plan = np.eye(16, dtype=np.float32)[:3], TrainingPlan(n_steps=1, rank=4)
    for rows in (anchors, None):
        distill(dense, tokenize, documents, plan=plan, anchors=rows, max_loss=0.9, min_tokens=60)
    assert np.array_equal(used[0].numpy(), anchors)
    assert len(used[1]) == len(parted(documents)["rarity"])


def test_what_no_training_goes_on_from(dense: SentenceBert, documents: list[Document]) -> None:
    plan = TrainingPlan(n_steps=1, rank=4)
    fewer = replace(a_gate(), rarity=np.zeros(7, np.uint8))
    with pytest.raises(ModelError, match="4 layers and 7 tokens"):
        distill(dense, tokenize, documents, plan=plan, start=fewer)
    for wrong in (np.eye(8, dtype=np.float32), np.zeros((0, 16), np.float32)):
        with pytest.raises(InputError, match=r"anchors.*\[n, 16\]"):
            distill(dense, tokenize, documents, plan=plan, anchors=wrong, min_tokens=60)


def test_what_cannot_be_distilled(dense: SentenceBert, documents: list[Document]) -> None:
    plan = TrainingPlan(n_steps=1)
    with pytest.raises(InputError, match="max_loss"):
        distill(dense, tokenize, documents, plan=plan, max_loss=1.0)
    with pytest.raises(InputError, match="300 tokens or more"):
        distill(dense, tokenize, documents, plan=plan, min_tokens=300)
    with pytest.raises(ModelError, match=r"Raise --max-loss or --steps"):
        distill(dense, tokenize, documents, plan=plan, max_loss=1e-9, min_tokens=60)
