"""`anymodal models bind`: a CLAP's sounds among the texts of a CLIP, and a plug-in's items."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import transformers
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from encoder import MultiModalEncoder, registry
from encoder.config import EncoderConfig
from encoder.errors import ModelError
from encoder.types import AUDIO, QUERY, TEXT, Item, Modality
from ingest import IngestConfig
from tests.support import tiny_models as tiny
from workers.cli import anymodal
from workers.pipeline.binding import bind, read_pairs, read_texts

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
    command = ["models", "bind", *map(str, words), "--model", f"dir:{models / 'clip'}"]
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
    with pytest.raises(ModelError, match="which another binding binds too"):
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


_LETTERS_APART = 20.0
KINDS, THINGS = ("deep", "shrill", "long"), ("hum", "whistle", "drone", "squeak")


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve named classes of two sounds each."""
    folder, rng = tmp_path_factory.mktemp("tones"), np.random.default_rng(1)
    times_s = np.arange(16_000) / 16_000
    for place, name in enumerate(f"{kind}_{thing}" for kind in KINDS for thing in THINGS):
        (folder / name).mkdir()
        for number in range(2):
            tone = np.sin(2 * np.pi * 150 * 1.3**place * times_s)
            noisy = 0.3 * tone + 0.01 * rng.normal(size=len(tone))
            soundfile.write(folder / name / f"{number}.wav", noisy, 16_000)
    return folder


@pytest.fixture(scope="module")
def aligned(models: Path, tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLAP that knows the classes: its last layer turns their sounds onto its own texts."""
    folder = tmp_path_factory.mktemp("aligned") / "clap"
    shutil.copytree(models / "clap", folder)
    pairs = read_pairs(tones)
    network = transformers.ClapModel.from_pretrained(folder)
    processor = transformers.ClapProcessor.from_pretrained(folder)
    with torch.no_grad():  # with the initial weights, all texts have nearly the same vector
        network.text_model.embeddings.word_embeddings.weight.mul_(_LETTERS_APART)
    network.save_pretrained(folder)
    last, hidden = network.audio_projection.linear2, list[torch.Tensor]()
    last.register_forward_pre_hook(lambda _, given: hidden.append(given[0]))
    with torch.no_grad():
        for pair in pairs:
            samples = soundfile.read(pair.file)[0][::2]
            given = processor(audio=samples, sampling_rate=8000, return_tensors="pt")
            network.get_audio_features(**given)
        texts = [Item(TEXT, pair.text, QUERY) for pair in pairs]
        wanted = torch.tensor(MultiModalEncoder(f"dir:{folder}").encode_items(texts))
        inputs = torch.nn.functional.pad(torch.cat(hidden), (0, 1), value=1.0)
        found = torch.linalg.lstsq(inputs, wanted, driver="gelsd").solution
        last.weight.copy_(found[:-1].T)
        last.bias.copy_(found[-1])
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts that read like the classes, but are none of them."""
    lines = [f"{how} {thing}s" for how in (*KINDS, "low", "high", "loud") for thing in THINGS]
    file = tmp_path_factory.mktemp("texts") / "texts.txt"
    file.write_text("\n".join([*lines, "", *lines[:3]]))
    return file


@pytest.mark.slow
def test_towers_are_joined_through_texts(
    models: Path, aligned: Path, tones: Path, texts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sounds.npz"
    words = ("--modality", "audio", "--with", f"dir:{aligned}", "--through", texts, "--out", out)
    ran = run(models, tones, *words)
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert (found["n_texts"], found["n_files"]) == (24, 24)
    assert found["before"]["recall_at_1"] == pytest.approx(1 / 23)
    assert found["after"]["mrr"] > 2 * found["before"]["mrr"]
    spec = f"dir:{models / 'clip'}"
    joined = MultiModalEncoder(config=EncoderConfig(model=spec, bindings=(out,)))
    names = [f"{kind}_{thing}" for kind in KINDS for thing in THINGS]
    heard = joined.encode_multimodal(audio=[tones / name / "1.wav" for name in names]).audio
    asked = joined.encode_items([Item(TEXT, name.replace("_", " "), QUERY) for name in names])
    own = np.eye(len(names), dtype=bool)
    assert (asked @ heard.T)[own].mean() > (asked @ heard.T)[~own].mean() + 0.1


@pytest.mark.slow
def test_what_cannot_be_joined_through_texts(
    models: Path, sounds: Path, tones: Path, texts: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few.txt"
    few.write_text("one\n\none\ntwo\n")
    with pytest.raises(ValueError, match="2 different lines"):
        read_texts(few)
    audio = ("--modality", "audio", "--through", texts)
    clap = ("--with", f"dir:{models / 'clap'}")
    assert "at least 10 different texts" in str(run(models, sounds, *audio, *clap).exception)
    alone = CliRunner().invoke(
        anymodal, ["models", "bind", str(tones), *map(str, audio), "--model", clap[1]]
    )
    assert "--with a model that also embeds texts" in str(alone.exception)


class Colours:
    """A plug-in's tower that belongs to no space: it gives each picture's mean colour."""

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
    with pytest.raises(ModelError, match="rows of 3 numbers, but the space has 24"):
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


@pytest.mark.parametrize("content", ["файл,text\n".encode("utf-16"), b"file,text\n\xe9t\xe9,b\n"])
def test_other_encodings_are_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "of_excel.csv"
    file.write_bytes(content)
    for read in (read_pairs, read_texts):
        with pytest.raises(ValueError, match=r"of_excel.csv.*a text file in UTF-8"):
            read(file)


def test_subfolders_name_what_is_in_them(sounds: Path) -> None:
    pairs = read_pairs(sounds)
    assert len(pairs) == 25
    assert {pair.text for pair in pairs} == {"deep hum", "shrill whistle"}


@pytest.mark.parametrize("modality", ["text", "smell"])
def test_modalities_that_nobody_brings(models: Path, sounds: Path, modality: str) -> None:
    encoder = MultiModalEncoder(f"dir:{models / 'clip'}")
    with pytest.raises(ValueError, match="--modality"):
        bind(encoder, Modality(modality), read_pairs(sounds), IngestConfig())
