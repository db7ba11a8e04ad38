"""Artifacts: whole or absent, whichever process is killed and however many make the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from encoder.errors import DiskError, ModelError
from encoder.models import artifacts as artifact
from encoder.models.artifacts import ArtifactKey, Progress
from encoder.system.cache import hold
from tests.faults.disk import small_disk

KEY = ArtifactKey("org/tiny", "org/tiny@c0ffee", "int8")
CONTENT = b"weights " * 1000

MAKE = """
import os, signal, sys, time
from pathlib import Path
from encoder.models.artifacts import ArtifactKey, make
made, dies = Path(sys.argv[1]), sys.argv[2] == "dies"
def write(folder, progress):
    (folder / "graph.onnx").write_bytes(b"half")
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    with made.open("a") as file:
        file.write("made\\n")
    return {}
make(ArtifactKey("org/tiny", "org/tiny@c0ffee", "int8"), write, lambda *_: None, spec="hf:org/tiny")
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path))
    return tmp_path / "models"


def left_in(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()} - {".locks"}


def write(folder: Path, progress: Progress) -> Mapping[str, Any]:
    progress("export", 0.5)
    (folder / "sub").mkdir()
    (folder / "sub" / "graph.onnx").write_bytes(CONTENT)
    return {"measured": {"text": 0.998}}


def never(folder: Path, progress: Progress) -> Mapping[str, Any]:
    raise AssertionError(f"{folder} is made again, {progress}")


def silent(stage: str, share: float) -> None:
    assert 0 <= share <= 1, stage


def make(key: ArtifactKey = KEY) -> artifact.Artifact:
    return artifact.make(key, write, silent, spec="hf:org/tiny")


def test_what_was_made_is_found_and_not_made_again(root: Path) -> None:
    assert artifact.find(KEY) is None
    stages = []
    made = artifact.make(KEY, write, lambda stage, _: stages.append(stage), spec="hf:org/tiny")

    assert stages == ["export"]
    assert left_in(root) == {made.folder.name}
    assert made.folder.name.startswith("org-tiny-")
    assert made.manifest["spec"] == "hf:org/tiny"
    assert made.manifest["key"]["precision"] == "int8"
    assert made.manifest["measured"] == {"text": 0.998}
    assert set(made.manifest["files"]) == {"sub/graph.onnx"}
    assert made.size_bytes == len(CONTENT)
    assert artifact.make(KEY, never, silent, spec="hf:org/tiny") == artifact.find(KEY) == made
    assert artifact.all_artifacts() == [made]


@pytest.mark.parametrize("other", ["name", "source", "precision", "sparsity", "recipe"])
def test_whatever_makes_it_names_the_folder(other: str) -> None:
    changed = replace(KEY, **{other: 2 if other == "recipe" else "other"})

    assert changed.folder_name != KEY.folder_name
    assert "/" not in replace(KEY, name="../../etc/passwd").folder_name
    assert not replace(KEY, name="../x").folder_name.startswith(".")


def run(made: Path, how: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", MAKE, str(made), how])


def test_a_killed_one_leaves_nothing_that_is_found_and_is_swept_by_the_next(
    root: Path, tmp_path: Path
) -> None:
    assert run(tmp_path / "made", "dies").wait() == -signal.SIGKILL

    (scratch,) = left_in(root)
    assert scratch.startswith("tmp-")
    assert artifact.find(KEY) is None
    assert artifact.all_artifacts() == []
    other = make(replace(KEY, precision="int4"))
    assert left_in(root) == {other.folder.name}


def test_what_is_being_made_is_not_swept(root: Path) -> None:
    def write_while_others_sweep(folder: Path, progress: Progress) -> Mapping[str, Any]:
        make(replace(KEY, precision="int4"))
        return write(folder, progress)

    artifact.make(KEY, write_while_others_sweep, silent, spec="hf:org/tiny")

    assert len(left_in(root)) == len(artifact.all_artifacts()) == 2


@pytest.mark.parametrize(
    ("content", "what"), [(CONTENT[:-1] + b"!", "sha256 differs"), (b"short", "is incomplete")]
)
def test_damage_is_reported_and_mended_by_the_next_prepare(content: bytes, what: str) -> None:
    graph = make().folder / "sub" / "graph.onnx"
    graph.write_bytes(content)
    if what == "sha256 differs":
        damaged = artifact.find(KEY)
        assert damaged
        with pytest.raises(ModelError, match=r"graph\.onnx is not .* prepare hf:org/tiny .*int8`"):
            artifact.verify(damaged)
    stages: list[str] = []

    again = artifact.make(KEY, write, lambda stage, _: stages.append(stage), spec="hf:org/tiny")

    artifact.verify(again)
    assert graph.read_bytes() == CONTENT
    assert len(stages) == 2
    assert stages[0].startswith("damaged, made again: ")
    assert what in stages[0]


def test_a_folder_in_use_stays_until_its_holder_goes(root: Path) -> None:
    class Holder:
        """As a model that was opened."""

    made, holder = make(), Holder()
    hold(made.folder, holder)
    with pytest.raises(ModelError, match=r"open in a process.*Stop the workers"):
        artifact.remove(made)
    assert artifact.find(KEY) == made

    del holder
    artifact.remove(made)
    assert left_in(root) == set()


@pytest.mark.root
def test_a_closed_disk_is_named(root: Path) -> None:
    with small_disk(root, 4) as disk:
        disk.read_only()
        with pytest.raises(DiskError, match=str(root)):
            make()
