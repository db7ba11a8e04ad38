"""Link the page's files: those that it needs at once become one, to save requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

_IMPORT = re.compile(r'^import \{ ([^}]+) \} from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|const|class) (\w+))", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b(?! *\().*", re.MULTILINE)
_SHEET = re.compile(r'^@import "(\w+)\.css";\n', re.MULTILINE)


def linked_modules(modules: Mapping[str, str], entry: str) -> dict[str, str]:
    """The same modules, but ``entry`` contains all its imports, and exports them to the others.

    Args:
        modules: JavaScript by name, without ``.js``. Names are imported as
            ``import { a, b as c } from "./name.js";`` and exported where they are declared.
        entry: the module that runs first.

    Raises:
        ValueError: modules import each other in a cycle, or with a different kind of statement.
    """
    first = _order(modules, entry)
    bodies = [_body(name, modules[name]) for name in first]
    # The functions are async because a module can use await.
    parts = [
        f"const ${name} = await (async () => {{\n{body}}})();\n"
        for name, body in zip(first, bodies, strict=True)
    ]
    whole = "".join([*parts, f"export {{ {', '.join(f'${name}' for name in first)} }};\n"])
    later = {
        name: _later(text, first, entry) for name, text in modules.items() if name not in first
    }
    return {**{name: _door(modules[name], name, entry) for name in first}, **later, entry: whole}


def linked_sheet(sheets: Mapping[str, str], entry: str) -> str:
    """A style sheet with the text of those that it imports."""
    return _SHEET.sub(lambda found: sheets[found[1]], sheets[entry])


def _order(modules: Mapping[str, str], entry: str) -> list[str]:
    """A module and all that it imports, each after its own imports."""
    needed: dict[str, list[str]] = {}
    waiting = [entry]
    while waiting:
        if (name := waiting.pop()) not in needed:
            needed[name] = [module for _, module in _IMPORT.findall(modules[name])]
            waiting += needed[name]
    try:
        return list(TopologicalSorter(needed).static_order())
    except CycleError as error:
        raise ValueError(f"Modules of the page import each other: {error.args[1]}") from error


def _body(name: str, text: str) -> str:
    """A module as the body of a function that returns what it exports."""
    body = _EXPORT.sub("", _IMPORT.sub(_taken, text))
    if other := _OTHER.search(body):
        raise ValueError(f"{name}.js has a statement that cannot be linked: {other[0]}")
    return f"{body}return {{ {', '.join(_EXPORT.findall(text))} }};\n"


def _taken(found: re.Match[str]) -> str:
    return f"const {{ {found[1].replace(' as ', ': ')} }} = ${found[2]};"


def _later(text: str, first: list[str], entry: str) -> str:
    """A module that is loaded later; it imports from the entry what that already contains."""

    def moved(found: re.Match[str]) -> str:
        if found[2] not in first:
            return found[0]
        return f'import {{ ${found[2]} }} from "./{entry}.js";\n{_taken(found)}'

    return _IMPORT.sub(moved, text)


def _door(text: str, name: str, entry: str) -> str:
    """A stub at the URL of a module that is part of the entry."""
    names = ", ".join(_EXPORT.findall(text))
    return f'import {{ ${name} }} from "./{entry}.js";\nexport const {{ {names} }} = ${name};\n'
