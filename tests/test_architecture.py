"""docs/architecture.md is true, and imports go one way: between rooms, and between modules."""

from __future__ import annotations

import ast
import functools
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGES = ("encoder", "ingest", "search", "workers")
MOST_LINES = 500
EVERYTHING = (*PACKAGES, "tests", "benchmarks", "examples", "scripts")
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


def modules(packages: Iterable[str] = PACKAGES) -> dict[str, Path]:
    """All modules by their dotted name; a package is its ``__init__``."""
    paths = (path for package in packages for path in (ROOT / package).rglob("*.py"))
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


def imported(node: ast.AST) -> Iterator[str]:
    """The names that a module imports to run, in functions too; not those for types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        else:
            yield from imported(child)


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def defined(module: ast.Module) -> Iterator[str]:
    """The names that a module has once it is imported."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def programs(module: ast.Module) -> Iterator[ast.Module]:
    """A file, and what is written in its strings to be run as another process."""
    yield module
    for node in ast.walk(module):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and "\nfrom " in f"\n{textwrap.dedent(node.value)}":
            with suppress(SyntaxError):  # prose, or a text in another language
                yield ast.parse(textwrap.dedent(node.value))


def test_what_is_not_type_checked_imports_what_there_is() -> None:
    """Or a move breaks a file that few runs read."""
    paths = modules(EVERYTHING)
    names = functools.cache(lambda module: {"__doc__", *defined(tree(paths[module]))})
    wrong = []
    for path in modules(EVERYTHING[len(PACKAGES) :]).values():
        for program in programs(tree(path)):
            for target in imported(program):
                above, _, name = target.rpartition(".")
                is_own = target.partition(".")[0] in EVERYTHING
                is_there = target in paths or (above in paths and name in names(above))
                if is_own and not is_there:
                    wrong.append(f"{path.relative_to(ROOT)}: {target}")
    assert wrong == []


@functools.cache
def own_imports() -> list[tuple[str, str]]:
    """Each module with a module of ours that it imports; facades may know their folder."""
    paths, pairs = modules(), []
    for name, path in paths.items():
        if path.name == "__init__.py":
            continue
        for target in imported(tree(path)):
            while target and target not in paths:
                target = target.rpartition(".")[0]
            if target and target != name:
                pairs.append((name, target))
    return pairs


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """One circle of a graph; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        names: list[str] = error.args[1]
        return names
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = defaultdict[str, set[str]](set)
    for name, target in own_imports():
        graph[name].add(target)
    assert len(graph) > 100
    assert circle(graph) == []


def test_no_rooms_import_each_other_in_a_circle() -> None:
    """Sibling folders at any depth, each with all that is below it."""
    folders = {name: path.parent.relative_to(ROOT).parts for name, path in modules().items()}
    siblings = defaultdict[tuple[str, ...], dict[str, set[str]]](lambda: defaultdict(set))
    for name, target in own_imports():
        pairs = enumerate(zip(folders[name], folders[target], strict=False))
        for depth, (room, other) in pairs:
            if room != other:
                siblings[folders[name][:depth]][room].add(other)
                break
    assert siblings
    rings = {"/".join(above): circle(graph) for above, graph in siblings.items()}
    assert {above: ring for above, ring in rings.items() if ring} == {}


def unreleased(source: str) -> list[int]:
    """The lines that take a lock by ``acquire`` in functions that release none in ``finally``."""
    lines, tree = set[int](), ast.parse(source)
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    for function in functions:
        last = [step for n in ast.walk(function) if isinstance(n, ast.Try) for step in n.finalbody]
        if not any(calls_of(step, "release") for step in last):
            lines |= {call.lineno for call in calls_of(function, "acquire")}
    return sorted(lines)


def calls_of(tree: ast.AST, name: str) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == name
    ]


def test_locks_are_released_whatever_happens() -> None:
    assert unreleased("def f(lock):\n    lock.acquire()\n    lock.release()\n") == [2]
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert [(path, found) for path in paths if (found := unreleased(path.read_text()))] == []
