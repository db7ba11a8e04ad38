"""The page at ``/``: the files of ``search/web``, some of them linked, all of them compressed."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

from fastapi import Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.staticfiles import NotModifiedResponse

_FOLDER = Path(__file__).parents[2] / "web"
_HEADERS = {
    # Revalidated each time and answered with 304, so that all files are of one version.
    "Cache-Control": "no-cache",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True)
class _File:
    """A file of the page as it is sent: compressed."""

    media_type: str
    compressed: bytes
    tag: str

    @classmethod
    def of(cls, path: str, content: bytes) -> _File:
        """A file by its path and content."""
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        media_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
        return cls(media_type, gzip.compress(content, mtime=0), tag)

    def answer(self, request_headers: Headers) -> Response:
        """The response with the file; 304 if the client has it already."""
        headers = {"ETag": self.tag}
        if request_headers.get("if-none-match") == self.tag:
            return NotModifiedResponse(Headers(headers))
        if "gzip" not in request_headers.get("accept-encoding", ""):
            return Response(
                gzip.decompress(self.compressed), headers=headers, media_type=self.media_type
            )
        headers["Content-Encoding"] = "gzip"
        return Response(self.compressed, headers=headers, media_type=self.media_type)


class WebPage(StaticFiles):
    """Static files, always of the same version; the page may use the microphone."""

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        """A file, or for the folder its ``index.html``."""
        file = _files().get("index.html" if path == "." else path)
        if not file or scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405 if file else 404)
        response = file.answer(Headers(scope=scope))
        response.headers.update(_HEADERS)
        return response


def page() -> WebPage:
    """What to mount at ``/``."""
    return WebPage(directory=_FOLDER)


@cache
def _files() -> Mapping[str, _File]:
    """All files by path, read once so that they keep one version while the server runs."""
    read = {path: path.read_bytes() for path in _FOLDER.rglob("*") if path.is_file()}
    contents = {path.relative_to(_FOLDER).as_posix(): content for path, content in read.items()}
    contents |= _linked("js", contents, lambda modules: linked_modules(modules, "main"))
    contents |= _linked("css", contents, lambda sheets: {"first": linked_sheet(sheets, "first")})
    return {path: _File.of(path, content) for path, content in contents.items()}


def _linked(
    kind: str,
    contents: Mapping[str, bytes],
    link: Callable[[dict[str, str]], dict[str, str]],
) -> dict[str, bytes]:
    """The files ``KIND/NAME.KIND``, linked."""
    texts = {
        PurePosixPath(path).stem: content.decode()
        for path, content in contents.items()
        if path.startswith(f"{kind}/")
    }
    return {f"{kind}/{name}.{kind}": text.encode() for name, text in link(texts).items()}


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
    return _SHEET.sub(lambda match: sheets[match[1]], sheets[entry])


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


def _taken(match: re.Match[str]) -> str:
    return f"const {{ {match[1].replace(' as ', ': ')} }} = ${match[2]};"


def _later(text: str, first: list[str], entry: str) -> str:
    """A module that is loaded later; it imports from the entry what that already contains."""

    def moved(match: re.Match[str]) -> str:
        if match[2] not in first:
            return match[0]
        return f'import {{ ${match[2]} }} from "./{entry}.js";\n{_taken(match)}'

    return _IMPORT.sub(moved, text)


def _door(text: str, name: str, entry: str) -> str:
    """A stub at the URL of a module that is part of the entry."""
    names = ", ".join(_EXPORT.findall(text))
    return f'import {{ ${name} }} from "./{entry}.js";\nexport const {{ {names} }} = ${name};\n'
