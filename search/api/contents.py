"""The files of assets: where they are, and how they are sent so that no browser runs them."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from urllib.parse import quote

from encoder.media.formats import IMAGE_TYPES
from search.api.answers import file_name
from search.errors import NotFoundError
from search.types import AssetRow

_PLAYED = re.compile(r"(audio|video)/[\w.+-]+")
_READ_AS_TEXT = frozenset({"text/html", "text/markdown", "text/plain"})


def file_of(asset: AssetRow) -> Path:
    """A file that holds the asset.

    Raises:
        NotFoundError: none of its locations can be read here, or all have changed since.
    """
    for uri in asset.locations:
        path = Path(uri)
        if path.is_absolute() and _is_unchanged(path, asset.size_bytes):
            return path
    raise NotFoundError(
        f"The file of {asset.asset_id} is not here, or has changed.",
        "Ingest it again, from where this server can read it.",
    )


def content_type(media_type: str) -> str:
    """What is said to the browser: pictures, sound, film and plain text as what they are.

    >>> content_type("text/html"), content_type("image/svg+xml"), content_type("video/mp4")
    ('text/plain; charset=utf-8', 'application/octet-stream', 'video/mp4')
    """
    if media_type in _READ_AS_TEXT:
        return "text/plain; charset=utf-8"
    known = media_type in IMAGE_TYPES or _PLAYED.fullmatch(media_type)
    return media_type if known else "application/octet-stream"


def content_headers(asset: AssetRow, path: Path) -> dict[str, str]:
    """Headers beside the type: nothing in it may run, and it may be kept, since an id is a hash."""
    how = "attachment" if content_type(asset.media_type).startswith("application/") else "inline"
    name = file_name(str(path)).encode(errors="replace")
    return {
        "Content-Disposition": f"{how}; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        "Cache-Control": "private, max-age=86400, immutable",
        "ETag": f'"{asset.asset_id}"',
    }


def picture_headers() -> dict[str, str]:
    """Headers of a thumbnail: the id in its address is a hash, so it never changes."""
    return {"Cache-Control": "private, max-age=86400, immutable"}


def _is_unchanged(path: Path, size_bytes: int) -> bool:
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_size == size_bytes
