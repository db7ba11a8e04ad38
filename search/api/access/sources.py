"""Which URLs the server may be asked to ingest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

from encoder.errors import InputError
from search.api.requests.refusal import ForbiddenError

SOURCE = re.compile(r"[a-z][a-z0-9+.-]*://\S.*/", re.DOTALL)
"""An allowed URL prefix; it ends in a slash, so that no host or name can be extended."""


def check_sources(sources: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise unless each URL begins with a prefix that the operator allows.

    Paths are never allowed. Nor is ``..``, even percent-encoded: some servers follow it out of a
    folder.

    Raises:
        InputError: it leads elsewhere.
        ForbiddenError: it is not allowed; the error does not say what is.
    """
    for number, url in enumerate(sources):
        if not url.startswith(tuple(allowed)):
            raise ForbiddenError(
                f"Clients may not ingest sources[{number}].",
                "Ask the server's operator to add it to ANYMODAL_API__SOURCES.",
            )
        parts = re.split(r"[/\\]", unquote(unquote(url)))
        if {".", ".."} & set(parts):
            raise InputError(
                f"sources[{number}]",
                got=repr(url[:80]),
                wanted="a URL such as s3://bucket/folder/, without . and ..",
            )
