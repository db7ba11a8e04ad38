"""Queries and documents of hub models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Router

from encoder import InputError, Item, MultiModalEncoder
from encoder.models import hub
from encoder.models.prompts import Prompts
from encoder.space import l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Clip
from tests.support import tiny_models as tiny
from tests.unit.encoder.models.test_hub import noise, picture

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


def test_tokens_of_a_role_count_its_prompt(encoder: MultiModalEncoder) -> None:
    for role, prompt in PROMPTS.items():
        n_marks, n_letters = 2, len(prompt.replace(" ", "")) + len("rain")
        assert encoder.window_lengths("rain", role) == [n_marks + n_letters]


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
