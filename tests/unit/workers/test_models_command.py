"""``anymodal models`` on the real bundle and on artifacts made on the spot."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from encoder.config import EncoderConfig
from encoder.errors import InputError, ModelError
from encoder.loading import load_model
from encoder.models.artifacts import Artifact, ArtifactKey, make
from encoder.models.spec import DEFAULT_MODEL
from workers.cli.main import models

SPEC = "hf:org/tiny"
FACTS = {
    "space": {"embed_dim": 8, "fingerprint": "0123456789abcdef", "identity": {"model": "org/tiny"}},
    "modalities": ["text"],
    "prompts": {"document": {"text": "passage: "}},
    "measured": {"text": {"mean": 0.9981, "least": 0.9912}},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, bundle_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate cache of artifacts, next to the real bundle."""
    assert bundle_home.is_dir()
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path))
    return tmp_path


def run(*words: str) -> Result:
    result = CliRunner().invoke(models, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def told(*words: str) -> Any:
    return json.loads(run(*words).stdout)


def prepared(precision: str) -> Artifact:
    def write(folder: Path, _: object) -> dict[str, Any]:
        (folder / "text.onnx").write_bytes(b"graph " * 100)
        return FACTS

    key = ArtifactKey("org/tiny", "org/tiny@c0ffee", precision)
    return make(key, write, lambda *_: None, spec=SPEC)


def test_the_bundle_is_listed_beside_artifacts() -> None:
    made = prepared("int8")

    listed = {one["spec"]: one for one in told("list")["models"]}

    bundle, tiny = listed["bundle:english"], listed[SPEC]
    assert bundle["modalities"] == ["text", "image", "audio"]
    assert bundle["size_bytes"] > 150e6
    assert tiny["folder"] == str(made.folder)
    assert tiny["size_bytes"] == 600
    assert [len(one["limits"]) for one in (bundle, tiny)] == [1, 2]


def test_show_shows_what_is_known_under_every_name() -> None:
    made = prepared("int8")

    for name in (SPEC, made.folder.name, str(made.folder), made.folder.name[-16:]):
        assert told("show", name)["measured"] == FACTS["measured"]
    space = load_model("bundle:english", quantization="auto", enable_dsre="auto").space
    shown = told("show", "bundle:english")
    assert shown["space"]["fingerprint"] == space.fingerprint
    assert shown["licence"]["text"] == "Apache-2.0"
    assert shown["files"]["text/model.onnx"]["sha256"]


def test_of_several_precisions_one_is_named() -> None:
    made = [prepared(precision) for precision in ("int8", "int4")]

    with pytest.raises(ModelError, match=f"2 models .*{made[0].folder.name}"):
        run("show", SPEC)
    assert told("show", SPEC, "--precision", "int4")["key"]["precision"] == "int4"
    with pytest.raises(ModelError, match=r"called hf:a/b; .*hf:org/tiny.* prepare hf:a/b"):
        run("show", "hf:a/b")


def test_verify_and_remove() -> None:
    made = prepared("int8")
    assert str(made.folder) in run("verify", SPEC).output

    (made.folder / "text.onnx").write_bytes(b"grape " * 100)
    with pytest.raises(ModelError, match=r"text\.onnx is not what was written"):
        run("verify", SPEC)

    assert str(made.folder) in run("remove", SPEC).output
    assert not made.folder.exists()
    assert SPEC not in {one["spec"] for one in told("list")["models"]}


def test_prune_removes_what_is_made_again_and_was_not_opened_for_long(cache: Path) -> None:
    made = prepared("int8")
    for name, unused_days in (("old.json", 31), ("new.json", 1)):
        path = cache / "trials" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
        then_s = time.time() - unused_days * 86400
        os.utime(path, (then_s, then_s))

    assert told("prune") == {"removed": [str(cache / "trials" / "old.json")], "bytes": 2}

    assert [path.name for path in (cache / "trials").glob("*.json")] == ["new.json"]
    assert made.folder.is_dir()


def test_an_open_bundle_is_not_removed(bundle_home: Path) -> None:
    model = load_model("bundle:english")

    with pytest.raises(ModelError, match="open in a process"):
        run("remove", "bundle:english")
    assert bundle_home.is_dir()
    assert model.towers


def test_models_are_chosen_for_new_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("ANYMODAL_ENCODER__MODEL", raising=False)
    prepared("int8")
    name = f"{SPEC},image=bundle:english"

    for refused in (f"image={SPEC}", "image=nothing:x", "audio=dir:/nowhere"):
        with pytest.raises((InputError, ModelError)):
            run("use", refused)
    assert run("use", "sounds=bundle:english").exit_code == 2
    assert EncoderConfig().model == DEFAULT_MODEL
    chosen = told("use", f"text={SPEC}", "image=bundle:english")
    lanes = [(lane["model"], lane["finds"]) for lane in chosen["lanes"]]
    assert lanes == [(SPEC, ["text"]), ("bundle:english", ["image"])]
    assert EncoderConfig().model == told("list")["model"] == chosen["model"] == name
    monkeypatch.setenv("ANYMODAL_ENCODER__MODEL", "bundle:english")
    assert EncoderConfig().model == "bundle:english"
    monkeypatch.delenv("ANYMODAL_ENCODER__MODEL")
    told("use", "--reset")
    assert EncoderConfig().model == DEFAULT_MODEL
    Path(chosen["file"]).write_text("[other]\nx = 1\n")
    with pytest.raises(InputError, match=r"settings\.toml"):
        EncoderConfig()
