"""Whether a file still holds what was stored of it, before anybody gets it under that name."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from search.query.byte_cache import ByteCache
from search.types import AssetRow

_HASHED_BYTES = 64 * 2**20
"""The largest file that is read as a whole before it is sent for the first time: .1 s."""
_CHUNK_BYTES = 2**20
_ID_BYTES = 16


class _Identity(NamedTuple):
    """What changes whenever a file does; nobody can set its ``changed_ns``."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int


_hashes: ByteCache[str] = ByteCache(2**18, len)
"""Those of files that were read as a whole, by their `_Identity`."""


def on_disk(asset: AssetRow) -> Path | None:
    """A file on this machine that holds the asset."""
    paths = map(Path, asset.locations)
    return next((p for p in paths if p.is_absolute() and is_unchanged(p, asset)), None)


def is_unchanged(path: Path, asset: AssetRow) -> bool:
    """Whether a file holds the asset."""
    try:
        descriptor = held_file(path, asset)
    except (OSError, ValueError):
        return False
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


def held_file(path: Path, asset: AssetRow) -> int | None:
    """An open descriptor of a file that holds the asset; None if the file has changed.

    A small file counts by its hash, which is the asset's id; a large one by its size and its time,
    unless it was touched or a link leads to it: then by its hash too. Links of the folders are
    followed, since a library may be moved, and whatever they lead to must be the same content.

    Raises:
        OSError: it cannot be opened.
        ValueError: no path can be like this.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if _holds(descriptor, path, asset):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _holds(descriptor: int, path: Path, asset: AssetRow) -> bool:
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode) or facts.st_size != asset.size_bytes:
        return False
    is_same_time = round(facts.st_mtime, 3) == asset.metadata.get("modified")
    is_large = facts.st_size > _HASHED_BYTES
    if is_large and is_same_time and os.path.realpath(f"/dev/fd/{descriptor}") == str(path):
        return True
    identity = _Identity(
        facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
    )
    return _hashes.get(identity, partial(_hash, descriptor)) == asset.asset_id


def _hash(descriptor: int) -> str:
    """BLAKE3 of the whole file, from which ingest makes ids; the descriptor stays at its start."""
    hasher, at = blake3(), 0
    while chunk := os.pread(descriptor, _CHUNK_BYTES, at):
        hasher.update(chunk)
        at += len(chunk)
    return hasher.hexdigest(length=_ID_BYTES)
