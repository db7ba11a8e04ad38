"""Hub models, with tiny random networks of the real classes."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from encoder import MultiModalEncoder
from encoder.errors import ModelError
from encoder.models import hub
from encoder.towers.model import Model
from encoder.types import Clip, Waveform
from tests.support import tiny_models as tiny

KINDS = {
    "sentence": ["text"],
    "static": ["text"],
    "clip": ["text", "image"],
    "siglip2": ["text", "image"],
    "clap": ["text", "audio"],
    "clap_fusion": ["text", "audio"],
    "embedding_gemma": ["text", "image", "audio", "video"],
}
TOWERS = [(kind, modality) for kind, modalities in KINDS.items() for modality in modalities]
Load = Callable[[str], Model]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
    return pixels.astype(np.uint8)


def noise(duration_s: float, rate: int = 16_000, seed: int = 0) -> Waveform:
    samples = np.random.default_rng(seed).standard_normal(round(duration_s * rate)) * 0.1
    return Waveform(samples.astype(np.float32), rate)


CONTENTS: dict[str, list[Any]] = {
    "text": ["a cat", "the dog barks, " * 9, "rain on 2 roofs", "x"],
    "image": [picture(40, 60), picture(1, 200), picture(3, 3), picture(50, 30, seed=1)],
    "audio": [noise(0.3), noise(1.0, 44_100), noise(4.2), noise(0.001)],
    "video": [
        Clip(picture(40, 60)[None]),
        Clip(np.stack([picture(30, 30)] * 3), noise(0.5)),
        Clip(np.stack([picture(20, 30, seed=n) for n in range(40)])),
    ],
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folders: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = tiny.save(kind, tmp_path_factory.mktemp(kind))
        return folders[kind]

    return get


@pytest.fixture(scope="module")
def loaded(saved: Callable[[str], Path]) -> Load:
    models: dict[str, Model] = {}

    def get(kind: str) -> Model:
        if kind not in models:
            models[kind] = hub.load(str(saved(kind)), revision=None, device="cpu")
        return models[kind]

    return get


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "modality"), TOWERS)
def test_same_content_same_vector_in_any_batch(loaded: Load, kind: str, modality: str) -> None:
    model = loaded(kind)
    assert list(model.towers) == KINDS[kind]
    tower = model.towers[modality]
    prepared = [tower.prepare(content) for content in CONTENTS[modality]]
    together = tower.forward(prepared).rows
    reversed_ = tower.forward(prepared[::-1]).rows[::-1]
    alone = np.concatenate([tower.forward([item]).rows for item in prepared])
    assert together.dtype == np.float32
    assert together.shape == (len(prepared), model.space.embed_dim)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert (together * alone).sum(axis=1).min() > 0.9999
    assert (together * reversed_).sum(axis=1).min() > 0.9999
    distances = np.linalg.norm(together[:, None] - together[None], axis=-1)
    assert distances[~np.eye(len(together), dtype=bool)].min() > 1e-3  # each content has its own


def test_several_threads_get_what_one_gets(loaded: Load) -> None:
    tower = loaded("clip").towers["text"]
    texts = [tower.prepare("a " * n) for n in range(1, 9)]
    expected = [tower.forward([text]).rows for text in texts]
    got: list[Any] = [None] * len(texts)

    def encode(index: int) -> None:
        for _ in range(5):
            got[index] = tower.forward([texts[index]]).rows

    threads = [threading.Thread(target=encode, args=(i,)) for i in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(np.concatenate(got), np.concatenate(expected), atol=1e-5)


@pytest.mark.parametrize("kind", ["clip", "embedding_gemma"])
def test_a_text_that_looks_like_a_file_stays_a_text(
    loaded: Load, kind: str, tmp_path: Path
) -> None:
    tower = loaded(kind).towers["text"]
    missing = "http://127.0.0.1:9/cat.png"
    real = tmp_path / "cat.png"
    real.write_bytes(b"no picture")
    texts = [missing, str(real), "<|image|> and <|audio|> and <|video|>"]
    assert np.isfinite(tower.forward([tower.prepare(text) for text in texts]).rows).all()


def test_the_whole_of_a_long_sound_counts(loaded: Load) -> None:
    tower = loaded("clap").towers["audio"]
    start = noise(6.0)
    samples = start.samples.copy()
    samples[-16_000:] = np.sin(np.arange(16_000) / 5) * 0.5
    other_end = Waveform(samples, 16_000)
    vectors = tower.forward([tower.prepare(start), tower.prepare(other_end)]).rows
    assert np.linalg.norm(vectors[0] - vectors[1]) > 1e-3


def test_the_sound_track_counts_in_a_video(loaded: Load) -> None:
    tower = loaded("embedding_gemma").towers["video"]
    frames = picture(30, 30)[None]
    silent, loud = tower.prepare(Clip(frames)), tower.prepare(Clip(frames, noise(0.5)))
    vectors = tower.forward([silent, loud]).rows
    assert vectors[0] @ vectors[1] < 0.9999


def test_the_fingerprint_follows_the_content_of_a_folder(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    moved = shutil.copytree(saved("clip"), tmp_path / "elsewhere")
    assert hub.hash_files(moved) == hub.hash_files(saved("clip"))
    weights = moved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    assert hub.hash_files(moved) != hub.hash_files(saved("clip"))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def pickle_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def call_foreign_code(folder: Path) -> None:
    modules = [{"idx": 0, "name": "0", "path": "", "type": "os.system"}]
    (folder / "modules.json").write_text(json.dumps(modules))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (pickle_weights, "no safetensors weights; pickled ones can run code.* Save it again"),
        (cut_weights, "cannot be loaded.*header"),
        (lambda f: (f / "config.json").unlink(), "neither modules.json nor config.json"),
        (lambda f: (f / "modules.json").write_text("{"), "modules.json is damaged"),
        (lambda f: (f / "tokenizer.json").unlink(), "cannot be loaded.*tokenizer"),
        (lambda f: edit_config(f, model_type="zzz"), "cannot be loaded.*'?zzz'?"),
        (
            lambda f: edit_config(f, model_type="zzz", auto_map={"AutoConfig": "evil.Config"}),
            "cannot be loaded.*custom code.*not supported",
        ),
        (call_foreign_code, "cannot be loaded.*os.system.*not supported"),
    ],
)
def test_a_folder_that_is_not_a_model(
    saved: Callable[[str], Path],
    tmp_path: Path,
    damage: Callable[[Path], object],
    message: str,
) -> None:
    folder = shutil.copytree(saved("clip"), tmp_path / "model")
    damage(folder)
    with pytest.raises(ModelError, match=message):
        hub.load(str(folder), revision=None, device="cpu")


def test_neither_a_model_nor_a_device(saved: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match="neither a folder nor a name"):
        hub.load("/no/such/folder", revision=None, device="cpu")
    with pytest.raises(ModelError, match=r"nonsense.*Check the device"):
        hub.load(str(saved("clip")), revision=None, device="nonsense")


def test_a_network_without_a_joint_space_is_refused(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    config = transformers.GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=200)
    transformers.GPT2Model(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(saved("sentence") / name, tmp_path)
    with pytest.raises(ModelError, match=r"does not define how an item becomes one vector.*gpt2"):
        hub.load(str(tmp_path), revision=None, device="cpu")


def test_a_relative_folder_does_not_shadow_a_name_of_the_hub(
    saved: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    shutil.copytree(saved("static"), tmp_path / "org" / "tiny")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="org/tiny is not in the cache"):
        hub.load("org/tiny", revision=None, device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sentence", "clip", "siglip2", "clap", "embedding_gemma"])
def test_a_text_beyond_the_context_is_read_to_its_end(loaded: Load, kind: str) -> None:
    tower = loaded(kind).towers["text"]
    most = tower._encoder.model.max_seq_length
    words = ["cat dog"] * (most // 3)  # six tokens each
    lengths = tower.window_lengths(" ".join(words))
    assert len(lengths) > 1
    assert max(lengths) <= most
    plain, changed = (
        tower.forward([tower.prepare(" ".join([*words, *end]))]).rows[0]
        for end in (["ox"] * 9, ["zebu"] * 9)
    )
    assert not np.allclose(plain, changed, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_those_that_the_network_reads(loaded: Load, kind: str) -> None:
    tower = loaded(kind).towers["text"]
    n_seen: list[int] = []
    features = tower._encoder.features

    def spy(inputs: Any, prompt: str) -> Any:
        made = features(inputs, prompt)
        ids, mask = made["input_ids"], made.get("attention_mask")
        n_seen.append(int(ids.numel() if mask is None else mask.sum()))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tower._encoder, "features", spy)
        tower.forward([tower.prepare("a cat, a dog")])
    (length,) = tower.window_lengths("a cat, a dog")
    is_padded = kind == "siglip2"  # to its whole context, without a mask
    assert n_seen == [length] or (is_padded and length == 13 < n_seen[0])


@pytest.fixture(scope="module")
def nested(saved: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nested") / "model"
    shutil.copytree(saved("sentence"), folder)
    path = next(folder.rglob("config.json"))
    settings = json.loads(path.read_text()) | {"matryoshka_dimensions": [16, 8, 32]}
    path.write_text(json.dumps(settings))
    return folder


def test_a_cut_is_a_space_of_its_own(nested: Path) -> None:
    whole = MultiModalEncoder(f"dir:{nested}", device="cpu")
    cut = MultiModalEncoder(f"dir:{nested}#16", device="cpu")
    assert whole.cuts == (8, 16)
    assert (cut.embed_dim, cut.cuts) == (16, (8,))
    assert cut.space.fingerprint != whole.space.fingerprint
    texts = ["a cat", "the dog barks"]
    rows = whole.encode_multimodal(text=texts).text[:, :16]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(cut.encode_multimodal(text=texts).text, rows, atol=1e-6)


@pytest.mark.parametrize(("kind", "remedy"), [("nested", "8, 16"), ("sentence", "none at all")])
def test_a_cut_that_a_model_was_not_trained_for_is_refused(
    saved: Callable[[str], Path], nested: Path, kind: str, remedy: str
) -> None:
    folder = nested if kind == "nested" else saved(kind)
    with pytest.raises(ModelError, match="no Matryoshka cut of 12 dimensions") as refused:
        MultiModalEncoder(f"dir:{folder}#12", device="cpu")
    assert remedy in refused.value.remedy
