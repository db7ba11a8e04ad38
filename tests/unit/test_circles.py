"""No file imports itself, directly or indirectly."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / name for name in ("encoder", "ingest", "search", "workers")]


def modules(package: Path) -> dict[str, Path]:
    """The files of a package by the name that imports them."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, known: Mapping[str, Path]) -> Iterator[str]:
    """Which modules a file imports: at the top, within functions, or for types only."""
    for node in ast.walk(ast.parse(source)):
        aliases = node.names if isinstance(node, ast.Import | ast.ImportFrom) else []
        names = [alias.name for alias in aliases]
        if isinstance(node, ast.Import):
            yield from (name for name in names if name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            within = [f"{node.module}.{name}" for name in names]
            yield from (one if one in known else node.module for one in within)


def circle(packages: Sequence[Path]) -> list[str]:
    """A circle of imports, from a module to itself; empty if there is none."""
    known = {name: path for package in packages for name, path in modules(package).items()}
    graph = {
        name: {one for one in imports(path.read_text("utf-8"), known) if one in known} - {name}
        for name, path in known.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


@pytest.mark.slow
def test_there_is_none() -> None:
    assert circle(PACKAGES) == []


@pytest.mark.parametrize(
    ("late", "found"),
    [
        ("def f():\n    from a import b", ["a.b", "a.c"]),
        ("import a.b", ["a.b", "a.c"]),
        ("if TYPE_CHECKING:\n    from a.b import x", ["a.b", "a.c"]),
        ("import os", []),
    ],
)
def test_late_imports_count(tmp_path: Path, late: str, found: list[str]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "__init__.py").write_text("")
    (tmp_path / "a" / "b.py").write_text("from a.c import f\n")
    (tmp_path / "a" / "c.py").write_text(late)

    assert sorted(set(circle([tmp_path / "a"]))) == found
