"""A hub model's artifact with a gate: long texts merge in int8, short ones stay as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.dsre.gatefile import GateFile
from encoder.dsre.settings import GateSettings
from encoder.errors import ModelError
from encoder.models import artifacts as artifact
from encoder.models import hub
from encoder.models.exported import GATE, MERGING
from encoder.models.spec import ModelSpec
from encoder.prepare import merging
from tests.support import tiny_models as tiny

pytestmark = pytest.mark.slow

CONFIG = EncoderConfig(n_threads=1)
SHORT = "a cat"
LONG = "a ferry left the harbour and the gulls went with it"
WITHOUT_TORCH = """
import sys
for name in ("torch", "transformers", "sentence_transformers"):
    sys.modules[name] = None
from encoder import MultiModalEncoder
encoder = MultiModalEncoder(sys.argv[1], quantization="int8", enable_dsre=True)
stats = encoder.encode_multimodal(text=sys.argv[2], return_stats=True).stats
print(stats.tokens[0], stats.kept[0, -1])
"""


def gate_for(folder: Path) -> GateFile:
    """Merges about half of a text's tokens in the first layer, from 30 tokens on."""
    vocab_size = hub.open_joint(str(folder), None, "cpu")[1].model[0].config.vocab_size
    settings = GateSettings((0.05, None), protection=0.0, min_tokens=30)
    return GateFile(np.zeros(vocab_size, np.uint8), settings)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    tiny.save_text_encoder(folder, "mpnet", max_position_embeddings=200)  # relative positions
    return f"dir:{folder}"


@pytest.fixture(scope="module")
def gate(spec: str) -> GateFile:
    return gate_for(Path(ModelSpec.parse(spec).name))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, spec: str, gate: GateFile) -> Path:
    """A machine on which the model's own gate was fitted, and timed in int8."""
    home = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANYMODAL_CACHE", str(home))
        own = merging.remembered(ModelSpec.parse(spec), "int8")
        own.parent.mkdir(parents=True)
        gate.save(own)
        merging.prepare(ModelSpec.parse(spec), "int8", True, lambda *_: None)
        own.unlink()
    return home


@pytest.fixture(autouse=True)
def machine(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(cache))


def test_long_texts_merge_and_short_ones_come_out_as_without_a_gate(spec: str) -> None:
    dense, sparse = (
        MultiModalEncoder(model=spec, quantization="int8", enable_dsre=wish, config=CONFIG)
        for wish in (False, True)
    )
    texts = [SHORT, LONG, "rain on two roofs", LONG + " to the sea"]
    plain = dense.encode_multimodal(text=texts).text
    found = sparse.encode_multimodal(text=texts, return_stats=True)
    is_long = found.stats.tokens >= 30
    assert is_long.tolist() == [False, True, False, True]
    np.testing.assert_array_equal(found.text[~is_long], plain[~is_long])
    assert (found.stats.kept[:, -1] < found.stats.tokens).tolist() == is_long.tolist()
    assert found.stats.flops_saved > 0.1
    assert (found.text != plain).any(1).tolist() == is_long.tolist()
    assert (found.text * plain).sum(1).min() > 0.7
    for text, row in zip(texts, found.text, strict=True):
        np.testing.assert_array_equal(sparse.encode_multimodal(text=text).text, row)
    assert sparse.space.fingerprint == dense.space.fingerprint


def test_the_gate_is_in_the_artifact_which_opens_without_torch(spec: str, gate: GateFile) -> None:
    (found,) = (one for one in artifact.all_artifacts() if one.manifest["key"]["sparsity"])
    assert GateFile.load(found.folder / GATE).identity == gate.identity
    assert {GATE, MERGING} <= found.manifest["files"].keys()
    assert found.manifest["space"]["identity"]["dsre"] == gate.identity
    artifact.verify(found)

    program = [sys.executable, "-c", WITHOUT_TORCH, spec, LONG]
    done = subprocess.run(program, capture_output=True, text=True, check=True)

    tokens, kept = map(int, done.stdout.split())
    assert kept < tokens


def test_both_artifacts_share_what_is_dense(spec: str) -> None:
    both = sorted(artifact.all_artifacts(), key=lambda one: len(one.manifest["files"]))
    graphs = [one.folder / "text.onnx" for one in both]
    assert len(graphs) == 2
    assert graphs[0].samefile(graphs[1])
    for one in both:
        artifact.verify(one)
    model = MultiModalEncoder(model=spec, quantization="int8", enable_dsre=False, config=CONFIG)
    assert "dsre" not in model.space.identity


def test_bf16_has_no_gate(spec: str) -> None:
    with pytest.raises(ModelError, match="float32, int8 and int4"):
        merging.prepare(ModelSpec.parse(spec), "bf16", True, lambda *_: None)


def test_a_device_does_not_go_with_a_gate(spec: str) -> None:
    with pytest.raises(ModelError, match=r"device='cuda' needs torch.*enable_dsre=True"):
        MultiModalEncoder(spec, device="cuda", enable_dsre=True)


def test_queries_with_a_prompt_of_their_own_run_without_the_gate(tmp_path: Path) -> None:
    tiny.save_sentence_encoder(tmp_path / "model", {"query": "find: ", "document": ""})
    gate = gate_for(tmp_path / "model")
    gate.save(tmp_path / "gate.npz")
    encoder = MultiModalEncoder(
        f"dir:{tmp_path / 'model'}", enable_dsre=str(tmp_path / "gate.npz"), config=CONFIG
    )
    asked, stored = (
        encoder.encode_multimodal(text=LONG, role=role, return_stats=True).stats
        for role in ("query", "document")
    )
    assert asked is None
    assert stored.kept[0, -1] < stored.tokens[0]
