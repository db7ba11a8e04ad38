"""The documentation is true: its Python runs, its commands exist, its links lead somewhere."""

import doctest
import re
import shlex
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import click
import pytest

from encoder import registry
from workers.cli import anymodal

ROOT = Path(__file__).parent.parent
FOLDERS = (ROOT, ROOT / "docs", ROOT / "examples")
PAGES = sorted(page for folder in FOLDERS for page in folder.glob("*.md"))
PACKAGES = ("encoder", "ingest", "search", "workers")
MODULES = sorted(
    module.name
    for package in PACKAGES
    for module in walk_packages([str(ROOT / package)], f"{package}.")
)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", [*PACKAGES, *MODULES])
@pytest.mark.usefixtures("bundle_home")
def test_doctests(name: str) -> None:
    assert doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
@pytest.mark.usefixtures("bundle_home")
def test_python_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_factories", {})  # what a page registers ends with the page
    code = "\n".join(blocks(page, "python"))
    exec(compile(code, str(page), "exec"), {"__name__": "__example__"})
    assert code


def commands(page: Path) -> list[list[str]]:
    lines = "\n".join(blocks(page, "(?:bash|console|sh)")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [line[1:] for line in words if line and Path(line[0]).name == "anymodal"]


COMMANDS = [pytest.param(c, id=f"{p.name}: {' '.join(c)}") for p in PAGES for c in commands(p)]


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_of_the_docs_exist_with_their_options(words: list[str]) -> None:
    command: click.Command = anymodal
    while isinstance(command, click.Group) and words:
        found = command.get_command(click.Context(command), words[0])
        assert found, f"no command {words[0]!r}"
        command, words = found, words[1:]
    flags = (p.opts + p.secondary_opts for p in command.params)
    known = {flag for names in flags for flag in names} | {"--help"}
    used = {word.split("=")[0] for word in words if word.startswith("--")}
    assert used <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []
