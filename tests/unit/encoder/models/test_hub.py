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
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Router

from encoder import InputError, Item, MultiModalEncoder
from encoder.errors import ModelError
from encoder.models import hub
from encoder.models.prompts import Prompts
from encoder.space import l2_normalize
from encoder.towers.model import Model
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Clip, Waveform
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


PROMPTS = {"query": "query: ", "document": "passage: "}
TEXTS = ["a cat on a mat", "rain"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without prompts."""
    return tiny.save("sentence", tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def folder(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with prompts."""
    return declare(plain, tmp_path_factory.mktemp("asymmetric"), PROMPTS)


def declare(source: Path, target: Path, prompts: dict[str, str]) -> Path:
    shutil.copytree(source, target, dirs_exist_ok=True)
    path = target / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prompts": prompts}))
    return target


@pytest.fixture(scope="module")
def encoder(folder: Path) -> MultiModalEncoder:
    return MultiModalEncoder(f"dir:{folder}", device="cpu")


@pytest.fixture(scope="module")
def symmetric(plain: Path) -> MultiModalEncoder:
    return MultiModalEncoder(f"dir:{plain}", device="cpu")


def test_each_role_has_its_prompt(encoder: MultiModalEncoder, symmetric: MultiModalEncoder) -> None:
    for role, prompt in PROMPTS.items():
        given = encoder.encode_multimodal(text=TEXTS, role=role)["text"]
        spelled = symmetric.encode_multimodal(text=[prompt + text for text in TEXTS])["text"]
        np.testing.assert_allclose(given, spelled, atol=1e-6)
    unsaid = encoder.encode_multimodal(text=TEXTS)["text"]
    np.testing.assert_array_equal(
        unsaid, encoder.encode_multimodal(text=TEXTS, role="document").text
    )


def test_roles_may_be_mixed(encoder: MultiModalEncoder) -> None:
    items = [Item(TEXT, text, role) for text in TEXTS for role in ("query", "document")]
    rows = encoder.encode_items(items)
    for row, item in zip(rows, items, strict=True):
        alone = encoder.encode_multimodal(text=item.content, role=item.role).text
        np.testing.assert_allclose(row, alone, atol=1e-6)
    assert rows[0] @ rows[1] < 0.999


def test_a_role_that_is_none_is_refused(encoder: MultiModalEncoder) -> None:
    with pytest.raises(InputError, match=r"role: got 'question'.*'query' or 'document'"):
        encoder.encode_multimodal(text="rain", role="question")


def test_the_space_is_that_of_its_documents(plain: Path, tmp_path: Path) -> None:
    """The folder's hash covers all prompts; for a hub model, its commit does."""
    spaces = [
        hub.load(
            str(declare(plain, tmp_path / str(n), PROMPTS | changed)), revision=None, device="cpu"
        ).space
        for n, changed in enumerate([{}, {"query": "ask: "}, {"document": "text: "}])
    ]
    first, asked, stored = ({**space.identity, "weights": ""} for space in spaces)
    assert first == asked
    assert first != stored
    assert all(
        space.fingerprint == space.__class__(32, space.identity).fingerprint for space in spaces
    )


def test_media_of_a_query(tmp_path: Path) -> None:
    prompts = {"query": "q: ", "document": "d: ", "audio_query": "heard: "}
    made = tiny.save("embedding_gemma", tmp_path / "gemma")
    encoder = MultiModalEncoder(f"dir:{declare(made, tmp_path / 'asked', prompts)}", device="cpu")
    assert encoder.space.asymmetric == {TEXT, AUDIO, VIDEO}
    film = Clip(picture(30, 30)[None], noise(0.5))
    contents = {TEXT: "a cat", IMAGE: picture(40, 60), AUDIO: noise(0.3), VIDEO: film}
    for modality, content in contents.items():
        rows = encoder.encode_items([Item(modality, content, r) for r in ("query", "document")])
        assert (rows[0] @ rows[1] > 0.9999) == (modality not in encoder.space.asymmetric)


def test_a_model_may_route_queries_through_parts_of_their_own(plain: Path, tmp_path: Path) -> None:
    base = SentenceTransformer(str(plain), device="cpu")
    routes = [[Dense(32, 16, activation_function=None)] for _ in ("query", "document")]
    router = Router.for_query_document(*routes)
    SentenceTransformer(modules=[base[0], base[1], router]).save_pretrained(str(tmp_path))
    encoder = MultiModalEncoder(f"dir:{tmp_path}", device="cpu")
    assert encoder.space.asymmetric == {TEXT}
    asked, stored = (
        encoder.encode_multimodal(text="rain", role=role).text for role in ("query", "document")
    )
    assert asked @ stored < 0.99
    opened = SentenceTransformer(str(tmp_path), device="cpu")
    np.testing.assert_allclose(
        [asked, stored],
        l2_normalize(np.stack([opened.encode_query("rain"), opened.encode_document("rain")])),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("declared", "default", "query", "document"),
    [
        ({}, None, "", ""),
        ({"query": "q: ", "document": ""}, None, "q: ", ""),
        ({"query": "q: ", "passage": "p: "}, None, "q: ", "p: "),
        ({"query": "q: ", "Document": "d: ", "document": ""}, None, "q: ", "d: "),
        ({"query": "q: ", "document": "d: "}, "query", "q: ", "d: "),
        ({"query": "q: "}, "query", "q: ", ""),
        ({"query": "q: ", "document": "d: "}, "document", "q: ", "d: "),
        ({"document": "d: "}, "document", "", "d: "),
        ({"sts": "s: "}, "sts", "s: ", "s: "),
        ({"sts": "s: ", "query": "q: "}, "sts", "q: ", "s: "),
        ({"sts": "s: "}, None, "", ""),
        ({"SearchQuery": "q: ", "Retrieval-document": "d: ", "STS": "s: "}, None, "q: ", "d: "),
        ({"retrieval.query": "q: ", "retrieval.passage": "p: "}, None, "q: ", "p: "),
        ({"s2p_query": "q: ", "s2s_query": "s: "}, None, "q: ", ""),
    ],
)
def test_a_text_has_the_prompt_of_its_role(
    declared: dict[str, str], default: str | None, query: str, document: str
) -> None:
    prompts = Prompts(declared, default)
    assert (prompts.of(TEXT, "query"), prompts.of(TEXT, "document")) == (query, document)


def test_media_have_the_default_prompt_or_one_that_is_named_after_them() -> None:
    texts = {"query": "q: ", "document": "d: "}
    assert Prompts(texts).of(IMAGE, "query") == ""
    assert Prompts({**texts, "any": "a: "}, "any").of(IMAGE, "document") == "a: "
    own = Prompts({**texts, "image-query": "seen: "})
    assert (own.of(IMAGE, "query"), own.of(IMAGE, "document")) == ("seen: ", "")


@pytest.mark.parametrize(
    ("name", "query", "document"),
    [
        ("intfloat/multilingual-e5-small", "query: ", "passage: "),
        ("intfloat/e5-base-v2", "query: ", "passage: "),
        ("BAAI/bge-small-en-v1.5", "Represent this sentence for searching relevant passages: ", ""),
        ("nomic-ai/nomic-embed-text-v1.5", "search_query: ", "search_document: "),
        ("intfloat/multilingual-e5-large-instruct", "", ""),
        ("somebody/e5-small", "", ""),
    ],
)
def test_models_that_declare_nothing_are_known_by_their_names(
    name: str, query: str, document: str
) -> None:
    prompts = Prompts({"query": "", "document": ""}, None, name)
    assert (prompts.of(TEXT, "query"), prompts.of(TEXT, "document")) == (query, document)
    declared = Prompts({"query": "own: "}, None, name)
    assert (declared.of(TEXT, "query"), declared.of(TEXT, "document")) == ("own: ", "")
