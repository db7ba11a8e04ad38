"""Which URLs the server may be asked to ingest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

from encoder.errors import InputError
from search.api.requests.refusal import ForbiddenError

SOURCE = re.compile(r"[a-z][a-z0-9+.-]*://\S.*/", re.DOTALL)
"""The beginning of URLs that is allowed: it ends in a slash, so that no host or name goes on."""


def check_sources(sources: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise unless each URL begins like one that the operator allows.

    A path is never allowed, nor is ``..``, which some servers follow out of a folder, also where it
    is written in escapes.

    Raises:
        InputError: it leads elsewhere.
        ForbiddenError: it is not allowed; does not say what is.
    """
    for number, url in enumerate(sources):
        if not url.startswith(tuple(allowed)):
            raise ForbiddenError(
                f"sources[{number}] is nothing that clients may have ingested.",
                "Ask who runs the server to name it in ANYMODAL_API__SOURCES.",
            )
        parts = re.split(r"[/\\]", unquote(unquote(url)))
        if {".", ".."} & set(parts):
            raise InputError(
                f"sources[{number}]",
                got=repr(url[:80]),
                wanted="a URL such as s3://bucket/folder/, without . and ..",
            )
