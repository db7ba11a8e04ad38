"""docs/architecture.md is true: its paths exist, and it names every room."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGES = ("encoder", "ingest", "search", "workers")
MOST_LINES = 500
CODE = (*PACKAGES, "scripts", "benchmarks")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def rooms(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("*/__init__.py")}


def test_its_paths_exist() -> None:
    paths = re.findall(r"`((?:encoder|ingest|search|workers)/[\w/.]*)`", PAGE)
    assert len(paths) > 30
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_it_names_every_room(package: str) -> None:
    described = {folder.strip("`/"): text for folder, text in rows("The rooms")}
    assert described.keys() == set(PACKAGES)
    assert rooms(ROOT / package) <= set(re.findall(r"`(\w+)`", described[package]))


def test_files_are_short() -> None:
    for path in (path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        n = path.read_text().count("\n")
        assert n <= MOST_LINES, f"{path} has {n} lines"
