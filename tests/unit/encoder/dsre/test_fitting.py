"""Gates fitted to a small network; the real one is judged by ``benchmarks/dsre``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from encoder.dsre.cost import Shape
from encoder.dsre.fitting.calibrate import calibrate
from encoder.dsre.fitting.documents import Document, part_of
from encoder.dsre.fitting.judge import GateSubject, Run
from encoder.dsre.gatefile import GateFile
from encoder.dsre.settings import thresholds
from encoder.errors import InputError, ModelError
from encoder.models.sparsity import write_sparse
from encoder.networks.bert import BertSize, SentenceBert, arrays_of
from encoder.onnx.build_bert import write_bert
from encoder.runtime.onnx import OnnxSession

WORDS = 400


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> GateSubject:
    torch.manual_seed(0)
    size = BertSize(vocab_size=WORDS, hidden_dim=16, ffn_dim=32, n_layers=4, n_heads=2)
    bert, folder = arrays_of(SentenceBert(size).eval()), tmp_path_factory.mktemp("graphs")

    @contextmanager
    def judged(gate: GateFile) -> Iterator[tuple[Run, Run]]:
        dense, sparse = folder / "dense.onnx", folder / "sparse.onnx"
        write_bert(bert, dense)
        write_sparse(bert, gate, sparse, int8=False)
        yield run(dense), run(sparse)

    return GateSubject(tokenize, Shape(4, 16, 32), WORDS, judged, judged)


def run(path: Path) -> Run:
    session = OnnxSession(path, n_threads=1)

    def run(ids: np.ndarray, gates: np.ndarray | None = None) -> list[np.ndarray]:
        given = {} if gates is None else {"thresholds": gates}
        return session.run({"input_ids": ids, "mask": np.ones(ids.shape, np.float32), **given})

    return run


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
    subject: GateSubject, documents: list[Document]
) -> None:
    lines: list[str] = []
    gate = calibrate(subject, documents, max_loss=0.9, min_tokens=60, report=lines.append)
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


def test_a_loss_that_no_gate_keeps(subject: GateSubject, documents: list[Document]) -> None:
    backwards = [
        Document(one.title, body)
        for one, body in zip(documents, [d.body for d in documents[1:]], strict=False)
    ]
    with pytest.raises(InputError, match="max_loss"):
        calibrate(subject, backwards, max_loss=0.0)
    with pytest.raises(InputError, match="300 tokens or more"):
        calibrate(subject, backwards, min_tokens=300)
    with pytest.raises(ModelError, match=r"Raise --max-loss"):
        calibrate(subject, documents, max_loss=1e-9, min_tokens=60)
