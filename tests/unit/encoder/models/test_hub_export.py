"""Hub models as graphs: tiny networks of each class, exported once, beside torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers
from torch.export import Dim, export

from encoder.errors import ModelError
from encoder.models import hub
from encoder.models.exported import FACTS, open_exported
from encoder.prepare.hub import check as hub_check
from encoder.prepare.hub.check import picture, sound
from encoder.prepare.hub.forms import traceable
from encoder.prepare.hub.prepare import prepare_hub
from encoder.runtime import openvino, trial
from encoder.towers.model import Model
from encoder.types import Clip
from tests.support import tiny_models as tiny

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("exported_once")]

MODALITIES = {
    "sentence": ["text"],
    "xlm-roberta": ["text"],  # the vector of the first token, as in Arctic Embed and BGE
    "mpnet": ["text"],
    "modernbert": ["text"],
    "nomic_bert": ["text"],
    "gte": ["text"],  # the medium Arctic Embed 2 too
    "qwen3": ["text"],
    "clip": ["text", "image"],
    "siglip2": ["text", "image"],
    "clap": ["text", "audio"],
    "clap_fusion": ["text", "audio"],
    "embedding_gemma": ["text", "image", "audio", "video"],
}
TOWERS = [(kind, modality) for kind, modalities in MODALITIES.items() for modality in modalities]
CONTENTS: dict[str, list[Any]] = {
    "text": ["a cat", "the dog barks, " * 40, "rain on 2 roofs", "x", "das Tor"],
    "image": [picture(3, 40, 60), picture(4, 1, 200), picture(5, 50, 30)],
    "audio": [sound(0, 0.3), sound(1, 4.2), sound(2, 0.001)],
    "video": [
        Clip(picture(6, 40, 60)[None]),
        Clip(np.stack([picture(7, 30, 30)] * 3), sound(3, 0.5)),
    ],
}


class Prepared(NamedTuple):
    source: Path
    target: Path
    facts: dict[str, Any]
    steps: list[tuple[str, float]]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Prepared]:
    made: dict[str, Prepared] = {}

    def get(kind: str) -> Prepared:
        if kind not in made:
            source = tiny.save(kind, tmp_path_factory.mktemp(kind))
            target = tmp_path_factory.mktemp(f"{kind}-exported")
            steps: list[tuple[str, float]] = []
            facts = prepare_hub(source, target, None, lambda *step: steps.append(step))
            made[kind] = Prepared(source, target, facts, steps)
        return made[kind]

    return get


@pytest.fixture(scope="session")
def models(prepared: Callable[[str], Prepared]) -> Callable[[str], tuple[Model, Model]]:
    """The model through torch and the exported one."""
    opened: dict[str, tuple[Model, Model]] = {}

    def get(kind: str) -> tuple[Model, Model]:
        if kind not in opened:
            source, target, *_ = prepared(kind)
            torch_model = hub.load(str(source), revision=None, device="cpu")
            opened[kind] = torch_model, open_exported(target, 1, shared=False)
        return opened[kind]

    return get


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "modality"), TOWERS)
def test_a_graph_gives_the_vectors_of_torch(
    models: Callable[[str], tuple[Model, Model]], kind: str, modality: str
) -> None:
    expected, made = (
        tower.forward([tower.prepare(content) for content in CONTENTS[modality]]).rows
        for tower in (model.towers[modality] for model in models(kind))
    )
    assert made.shape == expected.shape
    assert (expected * made).sum(axis=1).min() > (
        0.9999 if modality in ("image", "video") else 0.99999
    )


@pytest.mark.parametrize("kind", MODALITIES)
def test_an_exported_model_is_the_same_space(
    models: Callable[[str], tuple[Model, Model]], kind: str
) -> None:
    through_torch, exported = models(kind)
    assert list(exported.towers) == MODALITIES[kind]
    assert exported.space.fingerprint == through_torch.space.fingerprint
    assert exported.cuts == through_torch.cuts


@pytest.mark.parametrize("kind", ["sentence", "siglip2", "embedding_gemma"])
def test_long_texts_have_the_windows_that_they_have_through_torch(
    models: Callable[[str], tuple[Model, Model]], kind: str
) -> None:
    text = "cat, dog and zebra. " * (600 if kind == "embedding_gemma" else 20)
    expected, made = (model.towers["text"] for model in models(kind))
    made = made.tower
    assert len(made.window_lengths(text)) > 1
    assert made.window_lengths(text) == expected.window_lengths(text)


def test_queries_have_their_own_prompt_and_the_same_session(
    models: Callable[[str], tuple[Model, Model]],
) -> None:
    through_torch, exported = models("embedding_gemma")
    assert set(exported.queries) == set(through_torch.queries) == {"text"}
    expected, made = (
        model.queries["text"].forward([model.queries["text"].prepare("a cat")]).rows
        for model in (through_torch, exported)
    )
    document = exported.towers["text"].forward([exported.towers["text"].prepare("a cat")]).rows
    assert (expected * made).sum() > 0.99999
    assert (document * made).sum() < 0.999
    query_tower, tower = exported.queries["text"].tower, exported.towers["text"].tower
    assert query_tower._graph._session is tower._graph._session


WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "sentence_transformers", "librosa", "onnx"):
    sys.modules[name] = None
from pathlib import Path
import numpy as np
from encoder.models.exported import open_exported
folder, contents, vectors = map(Path, sys.argv[1:])
model = open_exported(folder, 1, shared=False)
text = model.towers["text"]
vectors_of = {"text": text.forward([text.prepare("a cat")]).rows}
assert "transformers" not in sys.modules
given = np.load(contents)
from encoder.types import Clip, Waveform
made = {
    "image": lambda: given["pixels"],
    "audio": lambda: Waveform(given["samples"], 16000),
    "video": lambda: Clip(given["pixels"][None], Waveform(given["samples"], 16000)),
}
for name, tower in model.towers.items():
    if name != "text":
        vectors_of[name] = tower.forward([tower.prepare(made[name]())]).rows
np.savez(vectors, **vectors_of)
"""


@pytest.mark.parametrize("kind", ["clip", "siglip2", "clap", "embedding_gemma"])
def test_an_exported_model_runs_without_torch(
    prepared: Callable[[str], Prepared],
    models: Callable[[str], tuple[Model, Model]],
    kind: str,
    tmp_path: Path,
) -> None:
    pixels, heard = picture(0, 48, 64), sound(0, 0.7)
    np.savez(tmp_path / "contents.npz", pixels=pixels, samples=heard.samples)
    arguments = (prepared(kind).target, tmp_path / "contents.npz", tmp_path / "vectors.npz")
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)], check=True)
    vectors = np.load(tmp_path / "vectors.npz")
    assert set(vectors) == set(MODALITIES[kind])
    contents = {
        "text": "a cat",
        "image": pixels,
        "audio": heard,
        "video": Clip(pixels[None], heard),
    }
    for modality, tower in models(kind)[1].towers.items():
        expected = tower.forward([tower.prepare(contents[modality])]).rows
        np.testing.assert_allclose(vectors[modality], expected, atol=1e-5)


def test_a_model_that_cannot_be_exported_says_why(tmp_path: Path) -> None:
    source = tiny.save("static", tmp_path / "static")
    with pytest.raises(ModelError, match=r"StaticEmbedding, which cannot be exported.*torch"):
        prepare_hub(source, tmp_path, None, lambda *_: None)


def test_a_precision_that_cannot_be_had_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(precision: str, match: str) -> None:
        with pytest.raises(ModelError, match=match):
            prepare_hub(tmp_path, tmp_path, precision, lambda *_: None)

    refused("int3", r"'int3' is not a precision.*bf16")
    monkeypatch.setattr(openvino, "is_installed", lambda: False)
    refused("bf16", r"OpenVINO, which is not installed.*\[openvino\]")
    monkeypatch.setattr(openvino, "is_installed", lambda: True)
    monkeypatch.setattr(trial, "instruction_sets", lambda: "sse2 avx2")
    refused("bf16", r"this processor does not support it.*int8")


def test_a_folder_that_holds_no_exported_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no exported model.*Prepare"):
        open_exported(tmp_path)
    (tmp_path / FACTS).write_text('{"version": 0}', "utf-8")
    with pytest.raises(ModelError, match=r"another version.*Prepare"):
        open_exported(tmp_path)


@pytest.mark.slow
def test_int8_is_another_space_and_does_not_depend_on_the_batch(
    prepared: Callable[[str], Prepared], tmp_path: Path
) -> None:
    plain = prepared("clip")
    facts = prepare_hub(plain.source, tmp_path, "int8", lambda *_: None)
    assert min(cosines["mean"] for cosines in facts["measured"].values()) > 0.99
    assert sum(facts["bytes"].values()) < sum(plain.facts["bytes"].values())
    model = open_exported(tmp_path, 1, shared=False)
    assert model.space.identity == {**plain.facts["identity"], "quantization": "int8"}
    tower = model.towers["text"]
    texts = [tower.prepare(text) for text in CONTENTS["text"]]
    alone = np.concatenate([tower.forward([text]).rows for text in texts])
    assert (tower.forward(texts).rows * alone).sum(axis=1).min() > 0.9999


@pytest.mark.slow
def test_a_precision_that_loses_too_much_is_refused(
    prepared: Callable[[str], Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(hub_check.LEAST_COSINE, "int4", 1.1)
    with pytest.raises(ModelError, match=r"in int4.*mean cosine of [01]\.\d+.*quantization=int8"):
        prepare_hub(prepared("sentence").source, tmp_path, "int4", lambda *_: None)


def test_no_layer_adds_to_the_sizes_that_the_exporter_reasons_about() -> None:
    """Else the export of the twelve published layers takes an hour."""
    config = transformers.Gemma4AudioConfig(
        hidden_size=32, num_attention_heads=2, num_hidden_layers=2, output_proj_dims=16
    )
    tower = transformers.Gemma4AudioModel(config).eval()
    inputs = (torch.randn(2, 90, 128), torch.ones(2, 90, dtype=torch.bool))
    axes = ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},) * 2
    with traceable(tower), torch.no_grad():
        program = export(tower, inputs, dynamic_shapes=axes, strict=False)
    linear = torch.ops.aten.linear.default
    sizes = [
        {str(size) for size in node.meta["val"].shape if not isinstance(size, int)}
        for node in program.graph.nodes
        if node.target is linear
    ]
    half = len(sizes) // 2  # one before the layers, one after them
    assert sizes[1:half] == sizes[half:-1]
    assert max(len(str(size)) for found in sizes for size in found) < 60
    with torch.no_grad():
        assert torch.allclose(
            program.module()(*inputs)["last_hidden_state"],
            tower(*inputs).last_hidden_state,
            atol=1e-5,
        )
