"""A hub model with a gate: the bundle's text network in the layout of a hub, its real weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from encoder import MultiModalEncoder
from encoder.dsre.adapters import blocks_of
from encoder.dsre.fitting.documents import Document
from encoder.dsre.gatefile import GateFile, token_rarity
from encoder.dsre.settings import GateSettings, thresholds
from encoder.errors import InputError, ModelError
from encoder.models import hub
from encoder.models.spec import ModelSpec
from encoder.prepare.gates.fit import own_gate, remembered
from encoder.prepare.gates.subjects import text_network
from encoder.towers.gated import MergingForward
from encoder.towers.text import load_tokenizer
from encoder.types import DOCUMENT, IMAGE, TEXT
from tests.support import tiny_models as tiny

ARTICLE = " ".join(
    f"Ferry number {n} left the harbour, and the gulls of the old town went with it as far as the "
    f"lighthouse, where the {word} begins."
    for n, word in enumerate("sea open water storm fog night island channel strait ice".split())
)
SHORT = "A ferry leaves the harbour."


def save(bundle: Path, folder: Path, pooling: str = "mean", *, prompt: str = "") -> Path:
    """The bundle's MiniLM as sentence-transformers stores it."""
    bert = folder / "bert"
    bert.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(bundle / "text" / name, bert)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(bundle / "text" / "tokenizer.json"),
        pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=256,
    )  # fmt: skip
    fast.save_pretrained(bert)
    pooled = Pooling(384, pooling, include_prompt=not prompt)
    model = SentenceTransformer(
        modules=[Transformer(str(bert)), pooled, Normalize()],
        prompts={"document": prompt} if prompt else None,
    )
    model.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def gate(bundle_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = load_tokenizer(bundle_home / "text" / "tokenizer.json", max_tokens=256)
    rarity = token_rarity([tokenizer.encode(ARTICLE).ids], 30522)
    path = tmp_path_factory.mktemp("gate") / "gate.npz"
    GateFile(rarity, GateSettings(thresholds("I1", 6))).save(path)
    return path


@pytest.fixture(scope="module")
def folder(bundle_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(bundle_home, tmp_path_factory.mktemp("hub") / "model")


@pytest.mark.slow
def test_it_merges_as_the_bundle_does(folder: Path, gate: Path) -> None:
    own = MultiModalEncoder(enable_dsre=str(gate), quantization=None)
    other = MultiModalEncoder(f"dir:{folder}", enable_dsre=str(gate), device="cpu")
    texts = [ARTICLE, SHORT, ARTICLE[: len(ARTICLE) // 2 + 200], SHORT * 3]
    wanted = own.encode_multimodal(text=texts, return_stats=True)
    got = other.encode_multimodal(text=texts, return_stats=True)
    assert (got.text * wanted.text).sum(1).min() > 0.9999
    assert got.stats.tokens.tolist() == wanted.stats.tokens.tolist()
    assert got.stats.kept.tolist() == wanted.stats.kept.tolist()
    assert got.stats.flops_saved == pytest.approx(wanted.stats.flops_saved)
    assert got.stats.flops_saved > 0.1


@pytest.mark.slow
def test_short_texts_are_those_of_the_dense_model(folder: Path, gate: Path) -> None:
    dense = MultiModalEncoder(f"dir:{folder}", device="cpu")
    merging = MultiModalEncoder(f"dir:{folder}", enable_dsre=str(gate), device="cpu")
    assert dense.space.fingerprint == merging.space.fingerprint
    assert GateFile.load(gate).identity in merging.space.gates
    short = [model.encode_multimodal(text=SHORT).text for model in (dense, merging)]
    np.testing.assert_array_equal(*short)
    one_window = ARTICLE[: 3 * len(ARTICLE) // 4]
    long = [model.encode_multimodal(text=one_window).text for model in (dense, merging)]
    assert 0.95 < float(np.dot(*long)) < 0.99999


@pytest.mark.slow
def test_queries_with_a_prompt_of_their_own_run_without_the_gate(
    folder: Path, gate: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(folder, tmp_path / "asymmetric")
    path = model / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prompts": {"query": "find: "}}))
    dense = MultiModalEncoder(f"dir:{model}", device="cpu")
    merging = MultiModalEncoder(f"dir:{model}", enable_dsre=str(gate), device="cpu")
    asked, stored = (
        [
            one.encode_multimodal(text=ARTICLE, role=role, return_stats=True)
            for one in (dense, merging)
        ]
        for role in ("query", "document")
    )
    np.testing.assert_array_equal(asked[0].text, asked[1].text)
    assert not np.array_equal(stored[0].text, stored[1].text)
    assert asked[1].stats is None
    assert stored[1].stats is not None


def test_a_gate_that_cannot_be_fitted_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path / "machine"))
    tiny.save_text_encoder(tmp_path / "model", "bert", num_hidden_layers=3)
    spec = ModelSpec.parse(f"dir:{tmp_path / 'model'}")
    documents = [Document(f"About {n}", f"It was seen at {n}. " * 22) for n in range(30)]
    with pytest.raises(InputError, match="tokens or more"):  # its window is 64
        own_gate(spec, documents)
    assert not remembered(spec).exists()


def gate_of_thirds(n_layers: int, vocab_size: int) -> GateFile:
    settings = GateSettings((0.05, *[None] * (n_layers - 1)), protection=0.0, min_tokens=30)
    return GateFile(np.zeros(vocab_size, np.uint8), settings)


def test_pictures_pass_a_gate_by(tmp_path: Path) -> None:
    tiny.save("embedding_gemma", tmp_path)
    joint = hub.open_joint(str(tmp_path), None, "cpu")[1]
    network = text_network("it", joint.model)
    blocks = blocks_of(network.transformer)
    gate = gate_of_thirds(blocks.shape.n_layers, blocks.vocab_size)
    picture = Image.fromarray(np.zeros((48, 64, 3), np.uint8))
    features = joint.features(joint.inputs(IMAGE, [picture]), "")
    assert int(features["attention_mask"].sum()) >= 4
    gate = replace(gate, settings=replace(gate.settings, min_tokens=4))
    with torch.inference_mode():
        found = MergingForward(network, gate)(features)["sentence_embedding"]
        expected = joint.model(dict(features))["sentence_embedding"]
    assert torch.equal(found, expected)


def test_a_gate_of_another_network(tmp_path: Path, gate: Path) -> None:
    model = tiny.save("sentence", tmp_path / "tiny")
    with pytest.raises(ModelError, match="for 6 layers and 30522 tokens"):
        MultiModalEncoder(f"dir:{model}", enable_dsre=str(gate), device="cpu")


@pytest.mark.parametrize(
    ("kind", "why"),
    [("static", "not a text encoder with pooling"), ("clip", "not a text encoder")],
)
def test_models_that_take_no_gate(kind: str, why: str, tmp_path: Path, gate: Path) -> None:
    with pytest.raises(ModelError, match=why):
        MultiModalEncoder(f"dir:{tiny.save(kind, tmp_path)}", enable_dsre=str(gate), device="cpu")


@pytest.mark.slow
def test_poolings_that_a_gate_does_not_know(bundle_home: Path, tmp_path: Path) -> None:
    for place, (pooling, prompt, why) in enumerate(
        [("max", "", "pools by 'max'"), ("mean", "passage: ", "excludes its prompt")]
    ):
        model = save(bundle_home, tmp_path / str(place), pooling, prompt=prompt)
        joint = hub.open_joint(str(model), None, "cpu")
        with pytest.raises(ModelError, match=why):
            text_network("it", joint[1].model, joint[2].of(TEXT, DOCUMENT))
