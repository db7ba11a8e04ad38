"""The page at ``/``: the static files of ``search/web``."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from fastapi import Response
from fastapi.staticfiles import StaticFiles

_FOLDER = Path(__file__).parents[2] / "web"
_HEADERS = {
    # Revalidated each time and answered with 304, so that all files are of one version.
    "Cache-Control": "no-cache",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


class Page(StaticFiles):
    """Static files that are never of two versions, and may use the microphone."""

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        """A file, or for a folder its ``index.html``."""
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


def page() -> Page:
    """What to mount at ``/``."""
    return Page(directory=_FOLDER, html=True)
