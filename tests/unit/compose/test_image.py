"""Images are named by their digests, and ours is built from pinned, hashed parts."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.compose_files import (
    COMPOSE,
    DOCKERFILE,
    OURS,
    ROOT,
    SERVICES,
    Loader,
    filled,
    pins,
    rendered,
)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


LOCKED = {
    "cpu": pins("requirements.lock"),
    "gpu": pins("gpu.lock"),
    "edge": pins("edge.lock"),
}
PREPARES = {
    "torch", "torchvision", "triton", "onnxscript", "sympy", "librosa", "numba", "scikit-learn",
    "transformers", "sentence-transformers",
}  # fmt: skip
EXTRAS = PROJECT["optional-dependencies"]
BOTH = PROJECT["dependencies"] + EXTRAS["otel"]
ON_CARDS = [one for one in EXTRAS["hub"] + EXTRAS["torch"] if not one.startswith("anymodal")]
ASKED = [("cpu", asked) for asked in BOTH] + [("gpu", asked) for asked in BOTH + ON_CARDS]
ASKED += [("edge", asked) for asked in PROJECT["dependencies"]]


@pytest.mark.parametrize(("device", "asked"), ASKED)
def test_the_lock_holds_what_the_project_asks_for(device: str, asked: str) -> None:
    requirement = Requirement(asked)
    version = LOCKED[device].get(canonicalize_name(requirement.name))
    assert version, f"{requirement.name} is not locked: make compose-lock"
    assert version in requirement.specifier, f"{asked} has {version}: make compose-lock"


@pytest.mark.parametrize("lock", sorted(COMPOSE.glob("*.lock")), ids=lambda path: path.name)
def test_every_pin_has_its_hashes(lock: str) -> None:
    text = re.sub(r"^#.*\n", "", (COMPOSE / lock).read_text(), flags=re.MULTILINE)
    entries = [entry for entry in re.split(r"\n(?=\S)", text.strip()) if entry]
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9_.-]+==\S+", entry)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry)


def test_the_image_for_processors_serves_and_prepares_nothing() -> None:
    assert not PREPARES & pins("requirements.lock").keys()
    assert not [name for name in pins("requirements.lock") if name.startswith("nvidia")]


def test_small_machines_get_the_same_versions_and_nothing_else() -> None:
    assert pins("edge.lock").items() <= pins("requirements.lock").items()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lock", "machine"),
    [("requirements.lock", "aarch64"), ("edge.lock", "aarch64"), ("edge.lock", "x86_64")],
)
def test_every_pin_has_a_wheel(lock: str, machine: str, tmp_path: Path) -> None:
    """Asks the index, as pip would on such a machine; nothing is downloaded."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--no-deps"),
            *("--python-platform", f"{machine}-manylinux_2_28", "--python-version", "3.11"),
            *("--only-binary", ":all:", "--require-hashes", "--target", str(tmp_path)),
            *("--requirement", str(COMPOSE / lock)),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"Would install {len(pins(lock))} packages" in done.stderr


def test_everything_is_installed_by_hash() -> None:
    """Except for the wheels that were made or checked in an earlier stage."""
    runs = re.findall(r"pip (?:install|download) [^&]*?(?=&&|\n[A-Z#]|\n\n)", DOCKERFILE)
    assert len(runs) >= 3
    for run in runs:
        assert "--require-hashes" in run or "--no-index" in run
        assert "--no-deps" in run


PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}")


def images(file: str) -> set[str]:
    """The images that a file of compose/, or our chart, names."""

    def walk(part: Any) -> set[str]:
        found: set[str] = set()
        if isinstance(part, dict):
            found = {part["image"]} if isinstance(part.get("image"), str) else set()
            part = list(part.values())
        return found.union(*map(walk, part)) if isinstance(part, list) else found

    whole = rendered() if file == "helm" else yaml.load_all((COMPOSE / file).read_text(), Loader)
    return {filled(image) for image in walk(list(whole))}


@pytest.mark.parametrize("file", ["compose.yaml", "compose.proxy.yaml", "helm"])
def test_every_image_has_its_tag_and_its_digest(file: str) -> None:
    ours = {filled(service["image"]) for service in OURS.values()}
    others = images(file) - ours
    assert others
    for image in others:
        assert PINNED.fullmatch(image), image


def test_the_chart_runs_the_milvus_of_compose() -> None:
    values = yaml.safe_load((COMPOSE / "milvus" / "cluster.values.yaml").read_text())
    image = f"milvusdb/milvus:{values['image']['all']['tag']}"
    assert image == SERVICES["milvus"]["image"]
    assert PINNED.fullmatch(image)
