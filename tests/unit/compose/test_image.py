"""The image is built from pinned, hashed parts that fit what the project asks for."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.unit.compose.files import COMPOSE, DOCKERFILE, ROOT, pins

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


LOCKED = {
    "cpu": pins("requirements.lock") | pins("torch.lock"),
    "gpu": pins("gpu.lock"),
}
EXTRAS = PROJECT["optional-dependencies"]
BOTH = PROJECT["dependencies"] + EXTRAS["otel"]
ASKED = [("cpu", asked) for asked in BOTH] + [("gpu", asked) for asked in BOTH + EXTRAS["hub"]]


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


def test_no_graphics_card_is_in_the_image_for_processors() -> None:
    assert pins("torch.lock")["torch"].endswith("+cpu")
    assert not [name for name in pins("requirements.lock") if name.startswith(("nvidia", "triton"))]


def test_everything_is_installed_by_hash() -> None:
    """Besides the wheels that were made or checked in an earlier stage."""
    runs = re.findall(r"pip (?:install|download) [^&]*?(?=&&|\n[A-Z#]|\n\n)", DOCKERFILE)
    assert len(runs) >= 4
    for run in runs:
        assert "--require-hashes" in run or "--no-index" in run
        assert "--no-deps" in run


def test_the_context_holds_what_is_copied_and_little_else() -> None:
    wanted = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    copied = set()
    for words in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = words.split()
        copied |= {"compose/*.lock" if s.endswith(".lock") else s for s in sources}
    assert copied == wanted
    assert all(list(ROOT.glob(source)) for source in copied)


def test_the_base_is_pinned_and_has_the_python_that_the_lock_is_for() -> None:
    (base,) = re.findall(r"^ARG BASE_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+@sha256:\w{64}", base)
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)
    known = {"${BASE_IMAGE}", "scratch", "libraries-${DEVICE}", *(name for _, name in stages)}
    assert {of for of, _ in stages} <= known
    assert {"libraries-cpu", "libraries-gpu"} <= known
