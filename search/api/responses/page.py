"""The page at ``/``: the files of ``search/web``, some of them linked, all of them compressed."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from fastapi import Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers
from starlette.staticfiles import NotModifiedResponse

from search.api.responses.linking import linked_modules, linked_sheet

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

    def answer(self, asked: Headers) -> Response:
        """The response with the file; 304 if the client has it already."""
        headers = {"ETag": self.tag}
        if asked.get("if-none-match") == self.tag:
            return NotModifiedResponse(Headers(headers))
        if "gzip" not in asked.get("accept-encoding", ""):
            return Response(
                gzip.decompress(self.compressed), headers=headers, media_type=self.media_type
            )
        headers["Content-Encoding"] = "gzip"
        return Response(self.compressed, headers=headers, media_type=self.media_type)


class Page(StaticFiles):
    """Static files, always of the same version; the page may use the microphone."""

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        """A file, or for the folder its ``index.html``."""
        file = _files().get("index.html" if path == "." else path)
        if file and scope["method"] in ("GET", "HEAD"):
            response = file.answer(Headers(scope=scope))
        else:
            response = await super().get_response(path, scope)  # says what is wrong
        response.headers.update(_HEADERS)
        return response


def page() -> Page:
    """What to mount at ``/``."""
    return Page(directory=_FOLDER)


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
