"""The client alone as a small distribution, `anymodal-client`.

`python -m scripts.client_package FOLDER` writes a project to build: what `search.client` imports,
under the name `anymodal_client`, so that it can be installed beside `anymodal` itself. The modules
are the product's own; nothing is written twice.
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAME = "anymodal_client"
FIRST = "search.client"
NEEDED = ("httpx2", "numpy", "pydantic")
OURS = re.compile(r"(?P<before>^\s*(?:from|import)\s+)(?=(?:encoder|search)[.\s])", re.MULTILINE)
PROJECT = """[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "anymodal-client"
version = "{version}"
description = "A typed client for a server of anymodal, synchronous and asynchronous."
readme = "README.md"
license = "Apache-2.0"
license-files = ["LICENSE"]
requires-python = "{python}"
dependencies = {dependencies}

[tool.hatch.build.targets.wheel]
packages = ["{name}"]
"""
README = """# anymodal-client

The client of `anymodal`, without the server and its models.

```python
from anymodal_client import Anymodal

with Anymodal("http://localhost:8080") as client:
    for hit in client.search("a red bicycle").hits:
        print(hit.name, hit.score)
```
"""
FACADE = '''"""A typed client of a server of anymodal: `Anymodal` and `AsyncAnymodal`."""

from anymodal_client.search.api.schemas import AssetOut, HitOut, JobOut, SearchAnswer
from anymodal_client.search.client.asynchronous import AsyncAnymodal
from anymodal_client.search.client.errors import {errors}
from anymodal_client.search.client.sync import Anymodal

__all__ = {names}
'''


def write_project(folder: Path) -> None:
    """Write the project's files; the folder is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    main = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [d for d in main["dependencies"] if _name(d) in NEEDED]
    for module in sorted(modules()):
        source = file_of(module)
        copy = folder / NAME / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text()
        if source.name == "__init__.py":  # facades promise more than is here
            text = f'"""Of anymodal\'s `{module}`: what its client needs."""\n'
        copy.write_text(OURS.sub(rf"\g<before>{NAME}.", text))
    errors = sorted(re.findall(r'"(\w+Error)": "errors"', file_of(FIRST).read_text()))
    names = sorted(
        [*errors, "Anymodal", "AssetOut", "AsyncAnymodal", "HitOut", "JobOut", "SearchAnswer"]
    )
    (folder / NAME / "__init__.py").write_text(FACADE.format(errors=", ".join(errors), names=names))
    (folder / NAME / "py.typed").touch()
    facts = {"version": main["version"], "python": main["requires-python"], "name": NAME}
    (folder / "pyproject.toml").write_text(
        PROJECT.format(dependencies=str(wanted).replace("'", '"'), **facts)
    )
    (folder / "README.md").write_text(README)
    shutil.copy(ROOT / "LICENSE", folder)


def _name(dependency: str) -> str:
    return re.split(r"[<>=\[; ]", dependency)[0]


def modules() -> set[str]:
    """What the client imports, at the top of its modules and of those that they import."""
    folder = file_of(FIRST).parent
    waiting = [f"{FIRST}.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"]
    found: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        parents = module.split(".")[:-1]
        found |= {".".join(parents[:end]) for end in range(1, len(parents) + 1)}
        if file_of(module).name != "__init__.py":
            waiting += imported(module)
    return found


def imported(module: str) -> Iterator[str]:
    """Our modules that a module imports when it is imported."""
    tree = ast.parse(file_of(module).read_text())
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").split(".")[0] in (
            "encoder",
            "search",
        ):
            parent = str(statement.module)
            within = [
                f"{parent}.{name.name}"
                for name in statement.names
                if is_module(f"{parent}.{name.name}")
            ]
            yield from within or [parent]
        elif isinstance(statement, ast.Import):
            yield from (
                name.name
                for name in statement.names
                if name.name.split(".")[0] in ("encoder", "search")
            )


def file_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def is_module(name: str) -> bool:
    return file_of(name).exists()


if __name__ == "__main__":
    write_project(Path(sys.argv[1]))
