"""Calibration of a small network; the real one is judged by ``benchmarks.dsre``."""

from __future__ import annotations

import pytest

from encoder.dsre.fitting.calibrate import calibrate
from encoder.dsre.fitting.documents import Document, part_of
from encoder.dsre.settings import thresholds
from encoder.errors import InputError, ModelError
from encoder.networks.bert import SentenceBert
from tests.unit.encoder.dsre import small
from tests.unit.encoder.dsre.small import TOKENIZE


@pytest.fixture(scope="module")
def dense() -> SentenceBert:
    return small.network()


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return small.documents(900, lambda i: i % 4 == 0)


def test_fits_on_some_texts_and_judges_with_others(
    dense: SentenceBert, documents: list[Document]
) -> None:
    lines: list[str] = []
    gate = calibrate(dense, TOKENIZE, documents, max_loss=0.9, min_tokens=60, report=lines.append)
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
        calibrate(dense, TOKENIZE, backwards, max_loss=0.0)
    with pytest.raises(InputError, match="300 tokens or more"):
        calibrate(dense, TOKENIZE, backwards, min_tokens=300)
    with pytest.raises(ModelError, match=r"Raise --max-loss"):
        calibrate(dense, TOKENIZE, documents, max_loss=1e-9, min_tokens=60)
