"""Restrict filters that use paths of this server."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from search.api.requests.refusal import ForbiddenError
from search.filters import Filter, asks_for_paths, parse_filter, within

PATHS = "paths"
"""The scope of this machine's user without a key; no key has it."""


def sees_paths(scopes: Collection[str]) -> bool:
    """Whether a sender with these scopes may know where files of this server are."""
    return not {"admin", PATHS}.isdisjoint(scopes)


def filter_for(data: Any, scopes: Collection[str], public_roots: tuple[str, ...]) -> Filter:
    """A request's filter, restricted to what its sender may see.

    A filter answers yes or no, so anyone who may compare with a path can spell it out. Senders
    without that right compare only with paths within the public roots, and learn nothing about the
    paths of the roots themselves.

    Args:
        data: the filter as plain JSON values.
        scopes: the sender's.
        public_roots: folders whose inner paths are public.

    Raises:
        InputError: not a filter.
        ForbiddenError: it asks for paths, and no root is public.
    """
    asked = parse_filter(data)
    if sees_paths(scopes) or not asks_for_paths(asked):
        return asked
    if not public_roots:
        raise ForbiddenError(
            "This key may not see the server's paths, not even through a filter.",
            "Leave out the path, use a key with the scope admin, or list folders whose paths may "
            "be shown in ANYMODAL_API__PUBLIC_ROOTS.",
        )
    return within(asked, public_roots)
