"""Every family of text encoders fits a gate to itself when it is prepared, and remembers it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch

from encoder import MultiModalEncoder
from encoder.dsre.fitting import documents as sample
from encoder.dsre.fitting.documents import PERCENT_UP_TO, Document, part_of
from encoder.dsre.gatefile import GateFile
from encoder.models import artifacts as artifact
from encoder.models.exported import GATE
from encoder.models.spec import ModelSpec
from encoder.prepare import merging
from encoder.prepare.gates import fit
from encoder.prepare.gates.fit import Run
from encoder.prepare.hub import prepare as dense
from tests.support import tiny_models as tiny

N_LAYERS = 3
SIZE: dict[str, Any] = {"num_hidden_layers": N_LAYERS, "max_position_embeddings": 200}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {},
    "xlm-roberta": {},
    "distilbert": {"dim": 32, "n_layers": N_LAYERS, "n_heads": 2, "hidden_dim": 64},
    "electra": {"embedding_size": 32},
    "modernbert": {"local_attention": 32},
    "qwen3": {},
}


def save(kind: str, folder: Path) -> ModelSpec:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        tiny.save_text_encoder(folder, kind, **SIZE, **FAMILIES[kind])
    return ModelSpec.parse(f"dir:{folder}")


def documents() -> list[Document]:
    """22 to choose with and 22 to judge; each repeats one word."""
    pairs = permutations("abcdefghijklmnopqrstuvwxyz", 2)
    every = [Document(f"{a} {b}", f"{a}{b}{a} " * 54) for a, b in pairs]
    parts = {part: [one for one in every if part_of(one) == part] for part in PERCENT_UP_TO}
    return [one for some in parts.values() for one in some[:22]]


def speedup(dense: Run, sparse: Run, texts: Sequence[Sequence[int]]) -> float:
    """Run both; networks as small as these save no time."""
    dense(texts[0])
    sparse(texts[0])
    return len(texts[0]) / 120


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh machine, on which graphs are empty files, since other tests cover them."""

    def export(_name: str, _network: object, target: Path, *_: str) -> None:
        target.touch()

    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path / "machine"))
    monkeypatch.setattr(dense, "export", export)
    monkeypatch.setattr(dense, "measure", lambda *_: {})
    monkeypatch.setattr(merging, "_export", export)
    monkeypatch.setattr(fit, "_speedup", speedup)
    monkeypatch.setattr(sample, "sample_documents", documents)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_gate_is_fitted_once_and_found_again(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = save(kind, tmp_path / "model")

    made = merging.prepare(spec, "float32", True, lambda *_: None)

    gate = GateFile.load(made.folder / GATE)
    assert {"judged", "break_even"} <= gate.facts.keys()
    assert made.manifest["space"]["identity"]["dsre"] == gate.identity
    monkeypatch.setattr(fit, "_fit", lambda *_: pytest.fail("fitted again"))
    assert merging.prepare(spec, "float32", True, lambda *_: None).folder == made.folder
    artifact.remove(made)
    encoder = MultiModalEncoder(str(spec), enable_dsre=True, device="cpu")
    assert encoder.space.gates == (gate.identity,)
    stats = encoder.encode_multimodal(text="aba " * 54, return_stats=True).stats
    assert stats.kept[0, -1] < stats.tokens[0]
