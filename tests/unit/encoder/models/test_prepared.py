"""Hub models as artifacts: prepared once, then found and opened without torch."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.errors import ModelError
from encoder.loading import load_model
from encoder.models import artifacts as artifact
from encoder.models import hub, sources
from encoder.models.artifacts import FLOAT32, Artifact
from encoder.models.spec import ModelSpec
from encoder.prepare import prepared
from tests.support import tiny_models as tiny
from workers.cli.main import models

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("exported_once")]

TEXTS = ["a cat", "the dog barks", "rain on two roofs"]
CONFIG = EncoderConfig(n_threads=1, quantization=None)
ANYMODAL = (sys.executable, "-c", "from workers.cli import main; main()")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save("sentence", tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The model in int8."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANYMODAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        return prepared.prepare(ModelSpec.parse(f"dir:{source}"), "int8", lambda *_: None)


@pytest.fixture
def int8(made: Artifact, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """The same, with the cache set to its place."""
    monkeypatch.setenv("ANYMODAL_CACHE", str(made.folder.parents[1]))
    return made


def rows(encoder: MultiModalEncoder) -> np.ndarray:
    return encoder.encode_multimodal(text=TEXTS).text


def test_a_named_precision_is_prepared_once(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = f"dir:{source}"
    plain = MultiModalEncoder(spec, config=CONFIG)  # through torch: nothing is prepared yet
    with caplog.at_level(logging.INFO, "encoder.prepare.prepared"):
        int8 = MultiModalEncoder(spec, quantization="int8", config=CONFIG)
    assert "preparing the model: export" in caplog.text
    caplog.clear()

    with caplog.at_level(logging.INFO, "encoder.prepare.prepared"):
        again = MultiModalEncoder(spec, quantization="int8", config=CONFIG)
        auto = MultiModalEncoder(spec, quantization="auto", config=CONFIG)
    assert caplog.text == ""
    assert (rows(plain) * rows(int8)).sum(axis=1).min() > 0.98
    assert not np.array_equal(rows(plain), rows(int8))
    assert int8.space.identity["quantization"] == "int8 recipe:2"
    for other in (again, auto):
        assert other.space.fingerprint == int8.space.fingerprint != plain.space.fingerprint
        np.testing.assert_array_equal(rows(other), rows(int8))


def test_a_changed_file_is_another_model(source: Path, int8: Artifact, tmp_path: Path) -> None:
    copy = tmp_path / source.name
    shutil.copytree(source, copy)
    assert prepared.find(ModelSpec.parse(f"dir:{copy}"), "int8") == int8

    config = copy / "tokenizer_config.json"
    config.write_text(config.read_text() + "\n")
    assert prepared.find(ModelSpec.parse(f"dir:{copy}"), "int8") is None


def test_without_tools_the_command_is_named(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "_TOOLS", ("torch", "no_such_package"))

    with pytest.raises(ModelError, match=r"no_such_package.* prepare dir:.*precision int4"):
        load_model(f"dir:{source}", quantization="int4")


def test_what_needs_torch_takes_no_precision(source: Path) -> None:
    with pytest.raises(ModelError, match="device='cuda:0' needs torch"):
        load_model(f"dir:{source}", quantization="int8", device="cuda:0")


@pytest.mark.usefixtures("int8")
@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_gpu_is_not_taken_but_reported(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    device: str | None,
) -> None:
    monkeypatch.setattr("encoder.loading._GPUS", (str(tmp_path),))
    load_model(f"dir:{source}", device=device, quantization="auto")
    assert ('device="cuda" runs the weights there' in caplog.text) == (device is None)
    caplog.clear()
    load_model(f"dir:{source}", device=device, quantization="int8")  # which is for the CPU
    monkeypatch.setattr("encoder.loading._GPUS", (str(tmp_path / "none"),))
    load_model(f"dir:{source}", device=device, quantization="auto")
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\nlanguage: [en, de]\n---\n# A model", "apache-2.0"),
        ("---\nlicense: 'other'\nlicense_name: gemma\n---\n", "gemma"),
        ("---\nlicense:\n- mit\n- cc-by-4.0\n---\n", "mit, cc-by-4.0"),
        ("---\nlicense: [\n---\n", None),
        ("# license: none\n\n---\nlicense: mit\n", None),
        (None, None),
    ],
)
def test_the_licence_is_that_of_the_card(
    tmp_path: Path, card: str | None, licence: str | None
) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card, "utf-8")
    languages = "en, de" if "language:" in (card or "") else None
    assert sources.of_card(tmp_path) == {"licence": licence, "languages": languages}


def test_a_card_is_fetched_and_not_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, list[str]] = {}

    def download(name: str, *, allow_patterns: list[str], **_: object) -> str:
        asked[name] = allow_patterns
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: None)
    sources.fetch("org/tiny", None)
    assert "README.md" in asked["org/tiny"]
    (tmp_path / "config.json").write_text("{}")
    before = sources.hash_files(tmp_path)
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    assert sources.hash_files(tmp_path) == before


def test_a_hub_model_is_found_by_name_revision_and_commit() -> None:
    def write(folder: Path, _: object) -> dict[str, object]:
        (folder / "text.onnx").touch()
        return {"revision": "main"}

    key = artifact.ArtifactKey("org/tiny", "org/tiny@c0ffee", "int8", recipe=2)
    made = artifact.make(key, write, lambda *_: None, spec="hf:org/tiny@main")

    for spec in ("hf:org/tiny", "hf:org/tiny@main", "hf:org/tiny@c0ffee"):
        assert prepared.find(ModelSpec.parse(spec), "int8") == made
    for spec in ("hf:org/tiny@v2", "hf:org/other"):
        assert prepared.find(ModelSpec.parse(spec), "int8") is None
    assert prepared.find(ModelSpec.parse("hf:org/tiny"), "int4") is None


def test_a_hub_model_is_asked_for_once(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "c0ffee"
    shutil.copytree(source, snapshot)
    name = "intfloat/multilingual-e5-small"  # whose prompts are known by its name
    (snapshot / "README.md").write_text("---\nlicense: mit\n---\n")
    for module in (hub, sources):
        monkeypatch.setattr(module, "fetch", lambda *_: snapshot)
    through_torch = load_model(f"hf:{name}", device="cpu")
    written = prepared.prepare(ModelSpec.parse(f"hf:{name}"), FLOAT32, lambda *_: None)
    assert written.manifest["licence"] == "mit"
    for module in (hub, sources):
        monkeypatch.delattr(module, "fetch")

    model = load_model(f"hf:{name}")

    assert model.space.identity == through_torch.space.identity
    assert model.space.identity["revision"] == "c0ffee"
    assert model.space.identity["prompt"] == "passage: "
    expected, made = (
        tower.forward([tower.prepare(text) for text in TEXTS]).rows
        for tower in (through_torch.towers["text"], model.towers["text"])
    )
    assert (expected * made).sum(axis=1).min() > 0.9999


def test_the_command_mends_what_is_damaged(source: Path, made: Artifact, tmp_path: Path) -> None:
    damaged = tmp_path / "models" / made.folder.name
    shutil.copytree(made.folder, damaged)
    graph = damaged / "text.onnx"
    content = graph.read_bytes()
    graph.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    result = CliRunner().invoke(models, ["prepare", f"dir:{source}"])

    assert re.search(r"damaged, made again: .*text\.onnx is not what was written", result.stderr)
    artifact.verify(Artifact(damaged, json.loads(result.stdout)))


def test_an_interrupt_of_the_command_leaves_nothing(source: Path, tmp_path: Path) -> None:
    command = [*ANYMODAL, "models", "prepare", f"dir:{source}"]
    environment = {**os.environ, "ANYMODAL_CACHE": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True) as running:
        assert running.stderr
        for line in running.stderr:
            if "export" in line:
                break
        running.send_signal(signal.SIGINT)
        running.stderr.read()

    assert running.returncode == 130
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".locks"]
