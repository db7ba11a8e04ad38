"""Folders as keys, to find path prefixes in a store that cannot search in arrays. Pure.

An asset has a key for every folder above each of its locations. All assets under a folder have its
key; whether a longer prefix matches is checked in their locations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

MAX_FOLDERS = 4096
MANY_FOLDERS = "*"
"""Replaces the keys of an asset in more than `MAX_FOLDERS` folders: it may be anywhere."""


def folder_keys(uris: Sequence[str]) -> list[str]:
    """The keys of all folders above these URIs, or only `MANY_FOLDERS`."""
    ends = ((uri, at + 1) for uri in uris for at, char in enumerate(uri) if char == "/")
    folders = dict.fromkeys(uri[:end] for uri, end in ends)
    return [_key(f) for f in folders] if len(folders) <= MAX_FOLDERS else [MANY_FOLDERS]


def folder_key(prefix: str) -> str | None:
    """The key of all paths that begin like this; None if there is no folder in it.

    >>> folder_key("/data/pho") == folder_key("/data/") != folder_key("/dat")
    True
    """
    folder = prefix[: prefix.rfind("/") + 1]
    return _key(folder) if folder else None


def _key(folder: str) -> str:
    return hashlib.sha256(folder.encode()).hexdigest()[:32]
