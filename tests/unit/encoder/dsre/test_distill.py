"""Distillation of a small network; the real one's is made by ``scripts/distill_text_gate.py``."""

from __future__ import annotations

import pytest
import torch

from encoder.dsre.fitting.distill import bold, distill
from encoder.dsre.fitting.documents import Document, parted
from encoder.dsre.fitting.tuning import Plan
from encoder.errors import InputError, ModelError
from encoder.networks.bert import SentenceBert
from tests.unit.encoder.dsre import small
from tests.unit.encoder.dsre.small import TOKENIZE

PLAN = Plan(n_steps=30, n_texts=8, rank=4, rate=3e-3, check_every=10)


@pytest.fixture(scope="module")
def dense() -> SentenceBert:
    return small.network()


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return small.documents(600, lambda i: i % 2 == 1)


@pytest.mark.slow
def test_trains_with_some_texts_chooses_and_judges_with_others(
    dense: SentenceBert, documents: list[Document]
) -> None:
    before = {name: value.clone() for name, value in dense.named_parameters()}
    lines: list[str] = []
    gate = distill(
        dense, TOKENIZE, documents, plan=PLAN, more=[[1, *[9] * 70, 2], [1, 2]],
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


def test_what_cannot_be_distilled(dense: SentenceBert, documents: list[Document]) -> None:
    plan = Plan(n_steps=1)
    with pytest.raises(InputError, match="max_loss"):
        distill(dense, TOKENIZE, documents, plan=plan, max_loss=1.0)
    with pytest.raises(InputError, match="300 tokens or more"):
        distill(dense, TOKENIZE, documents, plan=plan, min_tokens=300)
    with pytest.raises(ModelError, match=r"Raise --max-loss or --steps"):
        distill(dense, TOKENIZE, documents, plan=plan, max_loss=1e-9, min_tokens=60)
