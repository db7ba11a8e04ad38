"""Queries and documents of hub models."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Router

from encoder import InputError, Item, MultiModalEncoder
from encoder.models import hub
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
        given = encoder.encode_multimodal(text=TEXTS, role=role)["text"]  # type: ignore[arg-type]
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
        assert encoder.window_lengths("rain", role) == [n_marks + n_letters]  # type: ignore[arg-type]


def test_a_role_that_is_none_is_refused(encoder: MultiModalEncoder) -> None:
    with pytest.raises(InputError, match=r"role: got 'question'.*'query' or 'document'"):
        encoder.encode_multimodal(text="rain", role="question")  # type: ignore[arg-type]


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
    assert asked is not None
    assert stored is not None
    assert asked @ stored < 0.99
    opened = SentenceTransformer(str(tmp_path), device="cpu")
    np.testing.assert_allclose(
        [asked, stored],
        l2_normalize(np.stack([opened.encode_query("rain"), opened.encode_document("rain")])),
        atol=1e-5,
    )
