"""`anymodal bind`: a CLAP's sounds among the texts of a CLIP, and a plug-in's items."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from encoder import MultiModalEncoder, registry
from encoder.config import EncoderConfig
from encoder.errors import ModelError
from encoder.types import AUDIO, QUERY, TEXT, Item, Modality
from ingest import IngestConfig
from tests.support import tiny_models as tiny
from workers.cli import anymodal
from workers.pipeline.binding import bind, read_pairs

N_EACH = 12
NAMES = {"deep_hum": 150.0, "shrill-whistle": 5000.0}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(3)
    tiny.save_clip(folder / "clip")
    tiny.save_clap(folder / "clap")
    return folder


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two named classes."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for name, hz in NAMES.items():
        (folder / name).mkdir()
        for number in range(N_EACH):
            times_s = np.arange(16_000) / 16_000
            tone = np.sin(2 * np.pi * hz * rng.uniform(0.8, 1.2) * times_s)
            noisy = 0.3 * tone + 0.02 * rng.normal(size=len(tone))
            soundfile.write(folder / name / f"{number}.wav", noisy, 16_000)
    (folder / "deep_hum" / "notes.txt").write_text("Heard at the transformer.")
    return folder


def run(models: Path, *words: object) -> Result:
    command = ["bind", *map(str, words), "--model", f"dir:{models / 'clip'}"]
    return CliRunner().invoke(anymodal, command)


@pytest.fixture(scope="module")
def bound(models: Path, sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bound") / "sounds.npz"
    clap = f"dir:{models / 'clap'}"
    ran = run(models, sounds, "--modality", "audio", "--with", clap, "--out", out)
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert (found["n_files"], found["n_pairs"]) == (24, 24)
    (failed,) = found["failed"]
    assert failed["file"].endswith("notes.txt")
    assert "holds text" in failed["reason"]
    assert found["before"]["recall_at_1"] == pytest.approx(1 / 13)
    assert found["after"]["recall_at_1"] > 0.9
    return out


@pytest.mark.slow
def test_sounds_of_another_model_are_found_by_text(models: Path, sounds: Path, bound: Path) -> None:
    spec = f"dir:{models / 'clip'}"
    plain = MultiModalEncoder(spec)
    joined = MultiModalEncoder(config=EncoderConfig(model=spec, bindings=(bound,)))
    assert AUDIO in joined.modalities - plain.modalities
    assert joined.space.fingerprint != plain.space.fingerprint
    assert joined.space.calibration == {}  # the model ships none: a store measures all
    files = [sounds / name / "0.wav" for name in NAMES]
    heard = joined.encode_multimodal(audio=files).audio
    asked = joined.encode_items([Item(TEXT, t, QUERY) for t in ("deep hum", "shrill whistle")])
    assert (asked @ heard.T).argmax(axis=1).tolist() == [0, 1]
    assert np.allclose(np.linalg.norm(heard, axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_a_binding_belongs_to_its_space(models: Path, bound: Path) -> None:
    config = EncoderConfig(model=f"dir:{models / 'clap'}", bindings=(bound,))
    with pytest.raises(ModelError, match=r"sounds\.npz binds audio to the space"):
        MultiModalEncoder(config=config)
    twice = EncoderConfig(model=f"dir:{models / 'clip'}", bindings=(bound, bound))
    with pytest.raises(ModelError, match="which another binding does too"):
        MultiModalEncoder(config=twice)


@pytest.mark.slow
def test_what_does_not_help_is_refused(models: Path, sounds: Path, tmp_path: Path) -> None:
    lines = [f"{file},note {file.stem} of {n}" for n, file in enumerate(sounds.rglob("*.wav"))]
    (tmp_path / "pairs.csv").write_text("\n".join(["file,text", *lines]))
    out = tmp_path / "none.npz"
    clap = f"dir:{models / 'clap'}"
    ran = run(models, tmp_path / "pairs.csv", "--modality", "audio", "--with", clap, "--out", out)
    assert isinstance(ran.exception, ModelError)
    assert "does not help: before R@1 0.042" in str(ran.exception)
    assert "n = 24 queries, 24 files held out" in str(ran.exception)
    assert not out.exists()


class Colours:
    """A plug-in's tower that belongs to no space: of each picture its mean colour."""

    def __init__(self, model: object) -> None:
        del model

    def prepare(self, content: NDArray[np.uint8]) -> NDArray[np.float32]:
        return content.reshape(-1, 3).mean(axis=0, dtype=np.float32)[None] / 255

    def forward(self, batch: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate(batch)


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_factories", {})
    registry.register_modality("colour", Colours)


@pytest.mark.usefixtures("colours")
def test_a_tower_of_no_space_is_named(models: Path) -> None:
    encoder = MultiModalEncoder(f"dir:{models / 'clip'}")
    with pytest.raises(ModelError, match="rows of 3 numbers, and the space has 24"):
        encoder.encode_multimodal(colour=np.zeros((4, 4, 3), np.uint8))


def test_pairs_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    for text, said in (
        ("name,text\na,b\n", "file and text"),
        ("file,text\nnone.wav,a hum\n", "row 2"),
        ("file,text\npairs.csv,\n", "row 2"),
        ("file,text\npairs.csv,a hum\n", "at least 20 files"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=said):
            read_pairs(file)


def test_subfolders_name_what_is_in_them(sounds: Path) -> None:
    pairs = read_pairs(sounds)
    assert len(pairs) == 25
    assert {pair.text for pair in pairs} == {"deep hum", "shrill whistle"}


@pytest.mark.parametrize("modality", ["text", "smell"])
def test_modalities_that_nobody_brings(models: Path, sounds: Path, modality: str) -> None:
    encoder = MultiModalEncoder(f"dir:{models / 'clip'}")
    with pytest.raises(ValueError, match="--modality"):
        bind(encoder, Modality(modality), read_pairs(sounds), IngestConfig())
