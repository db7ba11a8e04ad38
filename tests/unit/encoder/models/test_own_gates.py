"""Models fit a gate to themselves when they are prepared; ``auto`` takes it if it loses little."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoder import MultiModalEncoder
from encoder.dsre.fitting.documents import PERCENT_UP_TO, Document, part_of
from encoder.dsre.fitting.judge import Run
from encoder.dsre.gatefile import GateFile
from encoder.errors import InputError
from encoder.models.artifacts import MANIFEST, verify
from encoder.models.exported import GATE
from encoder.models.spec import ModelSpec
from encoder.prepare import merging
from encoder.prepare.gates import fit
from tests.support import tiny_models as tiny

FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {},
    "modernbert": {"local_attention": 32},
    "qwen3": {},
}


def save(kind: str, folder: Path, **others: int) -> ModelSpec:
    size = {"num_hidden_layers": 3, "max_position_embeddings": 200} | others
    with torch.random.fork_rng():
        torch.manual_seed(7)
        tiny.save_text_encoder(folder, kind, **size, **FAMILIES[kind])
    return ModelSpec.parse(f"dir:{folder}")


def documents() -> list[Document]:
    """22 to choose with and 22 to judge; each repeats one word."""
    pairs = permutations("abcdefghijklmnopqrstuvwxyz", 2)
    every = [Document(f"{a} {b}", f"{a}{b}{a} " * 54) for a, b in pairs]
    parts = {part: [one for one in every if part_of(one) == part] for part in PERCENT_UP_TO}
    return [one for some in parts.values() for one in some[:22]]


def speedup(dense: Run, sparse: Run, texts: Sequence[Sequence[int]]) -> float:
    """Run both; networks as small as these save no time."""
    for run in (dense, sparse):
        run(np.asarray([texts[0]], np.int64))
    return len(texts[0]) / 120


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh machine."""
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path / "machine"))
    monkeypatch.setattr(fit, "_speedup", speedup)
    monkeypatch.setattr(merging, "sample_documents", documents)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAMILIES)
def test_auto_takes_a_gate_that_loses_little(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = save(kind, tmp_path / "model")

    made = merging.prepare(spec, "int8", True, lambda *_: None)

    gate, measured = GateFile.load(made.folder / GATE), made.manifest["dsre"]
    assert measured["loss"] == gate.facts["judged"]
    assert measured["loss"]["n_queries"] == 22
    assert measured["speedup"] == gate.facts["break_even"]
    assert measured["from_tokens"] == gate.settings.min_tokens
    monkeypatch.setattr(merging, "fit", lambda *_, **__: pytest.fail("fitted again"))
    assert merging.prepare(spec, "int8", True, lambda *_: None).folder == made.folder

    def kept() -> float:
        encoder = MultiModalEncoder(str(spec), quantization="int8", enable_dsre="auto")
        encoded = encoder.encode_multimodal(text="aba " * 54, return_stats=True)
        return encoded.stats.kept[0, -1] / encoded.stats.tokens[0] if encoded.stats else 1.0

    manifest = json.loads((made.folder / MANIFEST).read_text())
    for loss, is_taken in ((0.001, True), (0.02, False)):
        manifest["dsre"]["loss"] |= {"ndcg": loss, "error": 0.0, "margin": 0.0}
        (made.folder / MANIFEST).write_text(json.dumps(manifest))
        assert (kept() < 1) == is_taken
    verify(made)


def test_a_gate_that_cannot_be_fitted_is_not_remembered(tmp_path: Path) -> None:
    spec = save("bert", tmp_path / "model", max_position_embeddings=64)
    with pytest.raises(InputError, match="tokens or more"):  # than its window has
        merging.prepare(spec, "float32", True, lambda *_: None)
    assert not merging.remembered(spec).exists()
