"""Hub models in torch: what multiplies, in how many threads, in which precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from torch import nn

from encoder.errors import ModelError
from encoder.loading import load_model
from encoder.models import hub, in_torch
from encoder.models.sources import widened
from encoder.towers.model import Model
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Clip, Embeddings, Modality, Waveform
from tests.support import tiny_models as tiny

KINDS = ["sentence", "clip", "siglip2", "clap", "embedding_gemma"]
RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
SOUND = Waveform(RNG.normal(0, 0.1, 8_000).astype(np.float32), 16_000)
CONTENTS: dict[Modality, list[Any]] = {
    TEXT: ["a cat", "the dog barks, " * 4, "rain on 2 roofs", "x"],
    IMAGE: list(PICTURES),
    AUDIO: [SOUND],
    VIDEO: [Clip(PICTURES, SOUND)],
}
has_bf16 = pytest.mark.skipif(
    not in_torch._BF16_SETS & set(in_torch.instruction_sets().split()),
    reason="needs a processor that multiplies in bfloat16",
)
Load = Callable[..., Model]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    folders = {kind: tiny.save(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}

    def open_one(kind: str, **options: Any) -> Model:
        return hub.load(str(folders[kind]), revision=None, device="cpu", **options)

    return open_one


def network(model: Model) -> SentenceTransformer:
    found: SentenceTransformer = model.towers[TEXT]._encoder.model
    return found


def vectors(model: Model, modality: Modality, contents: list[Any] | None = None) -> Embeddings:
    tower = model.towers[modality]
    return tower.forward([tower.prepare(one) for one in contents or CONTENTS[modality]]).rows


@pytest.mark.parametrize("kind", ["clip", "embedding_gemma"])
def test_a_tower_that_is_not_used_stays_as_it_lies_in_its_file(
    load: Load, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_torch, "instruction_sets", lambda: "avx512_bf16")  # any can, slowly
    model = load(kind, bf16=True)
    vectors(model, TEXT)
    by_text = n_halved(model)
    vectors(model, IMAGE)
    assert 0 < by_text < n_halved(model)


def n_halved(model: Model) -> int:
    return sum(p.dtype == torch.bfloat16 for p in network(model).parameters())


def test_threads_are_as_asked_for_and_only_meanwhile(load: Load) -> None:
    model = load("sentence", n_threads=1)
    seen: list[int] = []
    network(model).register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        vectors(model, TEXT)
        assert seen == [1]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@has_bf16
@pytest.mark.parametrize("kind", KINDS)
def test_bf16_is_near_float32_alone_and_in_a_batch(load: Load, kind: str) -> None:
    plain, half = load(kind), load(kind, bf16=True)
    assert half.space.fingerprint != plain.space.fingerprint
    for modality in plain.towers:
        wanted, found = vectors(plain, modality), vectors(half, modality)
        alone = np.concatenate([vectors(half, modality, [one]) for one in CONTENTS[modality]])
        assert (wanted * found).sum(axis=1).min() > 0.995
        assert (alone * found).sum(axis=1).min() > 0.999
    weights = [one.weight for one in network(half).modules() if type(one) is nn.Linear]
    assert any(weight.dtype == torch.bfloat16 for weight in weights)


def test_bf16_is_refused_where_it_would_be_slower(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_torch, "instruction_sets", lambda: "fma avx2")
    with pytest.raises(ModelError, match='quantization="bf16" needs a processor'):
        load("sentence", bf16=True)


def test_another_quantization_of_a_hub_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match='"auto", one of int8, int4, bf16, or a folder'):
        load_model(f"dir:{tmp_path}", quantization="int3")


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path / "cache"))
    folder = tiny.save("sentence", tmp_path / "model")
    for path in folder.rglob("*.safetensors"):
        tensors = {name: one.to(torch.bfloat16) for name, one in load_file(path).items()}
        save_file(tensors, path, {"format": "pt"})
    return folder


def test_half_precision_is_mapped_from_a_float32_copy(half: Path) -> None:
    model = hub.load(str(half), revision=None, device="cpu")
    again = hub.load(str(half), revision=None, device="cpu")
    mapped = Path("/proc/self/maps").read_text("utf-8")
    (copy,) = (half.parent / "cache" / "float32").glob("[!.]*")
    assert f"{copy}/" in mapped
    _, plain, _ = hub.open_joint(str(half), None, "cpu")
    expected = plain.embed("text", ["a red car"], "")
    for one in (model, again):
        tower = one.towers[TEXT]
        found = tower.forward([tower.prepare("a red car")]).rows
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_is_float32_or_runs_elsewhere_is_not_copied(half: Path) -> None:
    wide = widened(half, "cpu")
    assert wide != half
    assert widened(wide, "cpu") == wide
    assert widened(half, "cpu") == wide
    assert widened(half, "cuda") == half


def test_where_nothing_can_be_written_the_checkpoint_serves(
    half: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = half.parent / "file"
    blocked.write_text("x")
    monkeypatch.setenv("ANYMODAL_CACHE", str(blocked))
    assert widened(half, "cpu") == half
    assert "not shared" in caplog.text
