"""What a sender may ask about: paths of this server in filters, and sources to ingest."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import unquote

from encoder.errors import InputError
from search.api.errors import ForbiddenError, sees_paths
from search.filters import Filter, asks_for_paths, parse_filter, within


def filter_for(data: Any, scopes: Collection[str], public_roots: tuple[str, ...]) -> Filter:
    """A request's filter, restricted to what its sender may see.

    A filter answers yes or no, so anyone who may compare with a path can spell it out. Senders
    without that right compare only with paths within the public roots, and learn nothing about the
    paths of the roots themselves.
    """
    parsed = parse_filter(data)
    if sees_paths(scopes) or not asks_for_paths(parsed):
        return parsed
    if not public_roots:
        raise ForbiddenError(
            "This key may not see the server's paths, not even through a filter.",
            "Leave out the path, use a key with the scope admin, or list folders whose paths may "
            "be shown in ANYMODAL_API__PUBLIC_ROOTS.",
        )
    return within(parsed, public_roots)


SOURCE = re.compile(r"[a-z][a-z0-9+.-]*://\S.*/", re.DOTALL)
"""An allowed URL prefix; it ends in a slash, so that no host or name can be extended."""


def check_sources(sources: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise unless each URL begins with a prefix that the operator allows.

    Paths are never allowed. Nor is ``..``, even percent-encoded: some servers follow it out of a
    folder.
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
