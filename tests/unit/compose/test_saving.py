"""The script that saves and restores the stack, on volumes that are folders here."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.disk import small_disk
from tests.support.compose_files import COMPOSE, STACK

VOLUMES = ("api", "milvus", "redis", "uploads")
DOCKER = """#!/bin/sh
# run --rm --network none --user 0 --entrypoint sh --volume A:/volume --volume B:/backup IMAGE ...
volume=$FOLDER/${10%%:*} backup=${12%%:*}
exec sh "${14}" "$(printf %s "${15}" | sed "s#/volume#$volume#g; s#/backup#$backup#g")"
"""
DOCKER_COMPOSE = '#!/bin/sh\necho "$1" >>"$FOLDER/calls"\n'


class Machine:
    """The script in a folder of its own, with programs that stand for Docker's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "backup.sh"
        shutil.copy(COMPOSE / "backup.sh", self.script)
        for name, text in (("docker", DOCKER), ("docker-compose", DOCKER_COMPOSE)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        for name in VOLUMES:
            self.volume(name).mkdir()
            self.fill(name, "saved")

    def volume(self, name: str) -> Path:
        return self.folder / f"anymodal_{name}"

    def fill(self, name: str, text: str) -> None:
        """Let a volume hold this and nothing else."""
        for path in self.volume(name).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self.volume(name) / "in").mkdir()
        (self.volume(name) / "in" / f"{text} {name}").write_text(text * 100)
        (self.volume(name) / f".{text}").touch()

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run the script; the stack must be started again, whatever happens."""
        (self.folder / "calls").unlink(missing_ok=True)
        programs = {
            "DOCKER": str(self.folder / "docker"),
            "COMPOSE": str(self.folder / "docker-compose"),
            "FOLDER": str(self.folder),
        }
        done = subprocess.run(
            [self.script, *map(str, words)],
            env={**os.environ, **programs}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        calls = self.folder / "calls"
        assert not calls.exists() or calls.read_text().split()[-1] == "start"
        return done

    def held(self) -> dict[str, str]:
        """What is in the volumes."""
        return {
            str(path.relative_to(self.folder)): path.read_text()
            for name in VOLUMES
            for path in sorted(self.volume(name).rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "stack").mkdir()
    return Machine(tmp_path / "stack")


@pytest.fixture
def saved(machine: Machine, tmp_path: Path) -> Path:
    """A backup; the volumes hold something else by now."""
    folder = tmp_path / "monday"
    before = machine.held()
    assert machine.run("save", folder).returncode == 0
    assert machine.held() == before
    for name in VOLUMES:
        machine.fill(name, "later")
    return folder


def test_it_saves_every_volume_that_cannot_be_made_again() -> None:
    assert {*VOLUMES, "cache", "prometheus", "grafana"} == set(STACK["volumes"])


def test_what_was_saved_comes_back(machine: Machine, saved: Path) -> None:
    machine.volume("uploads").chmod(0o700)
    done = machine.run("restore", saved)
    assert done.returncode == 0, done.stderr
    held = machine.held()
    assert len(held) == 2 * len(VOLUMES)
    assert all("saved" in path for path in held)
    assert machine.volume("uploads").stat().st_mode & 0o777 == 0o755
    assert machine.run("save", saved).returncode == 0, "over the former one"
    assert machine.run("restore", saved).returncode == 0
    assert machine.held() == held


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1200])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: cut(folder / "uploads.tar"),
        lambda folder: (folder / "milvus.tar").write_bytes(b"PK\x03\x04" * 5000),
        lambda folder: (folder / "redis.tar").unlink(),
        lambda folder: shutil.copy(folder / "api.tar", folder / "redis.tar"),
        lambda folder: (folder / "SHA256SUMS").unlink(),
        shutil.rmtree,
    ],
    ids=["cut", "foreign", "missing", "another", "no sums", "no folder"],
)
def test_a_wrong_backup_changes_nothing(
    damage: Callable[[Path], object], machine: Machine, saved: Path
) -> None:
    before = machine.held()
    damage(saved)
    done = machine.run("restore", saved)
    assert done.returncode == 1
    assert str(saved) in done.stderr
    assert machine.held() == before


def test_a_restore_that_was_killed_is_undone_by_the_next(machine: Machine, saved: Path) -> None:
    before = machine.held()
    for name, is_emptied in (("milvus", False), ("redis", True)):
        volume = machine.volume(name)
        for folder in ("new", "former"):
            (volume / ".restoring" / folder).mkdir(parents=True)
        (volume / "in").rename(volume / ".restoring" / "former" / "in")
        if is_emptied:
            (volume / ".later").rename(volume / ".restoring" / "former" / ".later")
            (volume / ".restoring" / "emptied").touch()
            (volume / "new").touch()
    (saved / "again").mkdir()
    assert machine.run("save", saved / "again").returncode == 0, "which leaves that alone"
    (saved / "uploads.tar").write_bytes(b"no archive" * 500)
    subprocess.run("sha256sum ./*.tar >SHA256SUMS", shell=True, cwd=saved, check=True)
    done = machine.run("restore", saved)
    assert done.returncode == 1
    assert "Nothing was changed" in done.stderr
    assert machine.held() == before


@pytest.mark.root
def test_a_full_disk_leaves_what_was_there(saved: Path, machine: Machine, tmp_path: Path) -> None:
    before = machine.held()
    with small_disk(tmp_path / "disk", 1) as disk:
        shutil.copytree(saved, disk.folder / "monday")
        disk.fill()
        done = machine.run("save", disk.folder / "monday")
        assert done.returncode == 1
        assert "was not saved" in done.stderr
        for path in saved.iterdir():
            assert (disk.folder / "monday" / path.name).read_bytes() == path.read_bytes()
        assert machine.held() == before
    with small_disk(machine.volume("uploads"), 0.1) as disk:
        (disk.folder / "upload").write_text("x" * 60_000)
        disk.fill()
        before = machine.held()
        done = machine.run("restore", saved)
        assert done.returncode == 1
        assert "uploads.tar was not unpacked. Nothing was changed" in done.stderr
        assert machine.held() == before
