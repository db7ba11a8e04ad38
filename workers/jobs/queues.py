"""Which queue a file waits in: one per cost class, so that a film does not hold up a text."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath

from ingest.kinds.registry import cost_of

CLASSES = ("text", "image", "audio", "video")
PRIORITIES = {"interactive": 0, "normal": 3, "bulk": 6}
"""By name; a lower number is served first."""

_SHARE = {"text": 1, "image": 1, "audio": 8, "video": 64}
"""A shard holds this many times fewer files than one of texts."""

_FULL_BYTES = {"text": 2 * 2**20, "image": 256 * 2**20, "audio": 16 * 2**20, "video": 1}
"""With this much, it is full however few files it holds: a book is more work than 96 notes, and
what is made of a shard is held in memory until it is stored."""


def cost_class(path: str) -> str:
    """The cost class by the name. A wrong name costs time and harms nothing.

    >>> [cost_class(name) for name in ("a.md", "b.JPG", "c.flac", "d.mkv", "no-suffix")]
    ['text', 'image', 'audio', 'video', 'text']
    """
    if named := cost_of(PurePath(path).suffix.lower()):
        return named
    kind = (mimetypes.guess_type(path.lower(), strict=False)[0] or "").partition("/")[0]
    return kind if kind in CLASSES else "text"


def queue_name(cost: str) -> str:
    """The broker's queue of a cost class."""
    return f"anymodal.{cost}"


def file_bytes(path: str) -> int:
    """How large a file is; 0 for anything but a file, or without permission."""
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return 0


def shards(
    paths: Iterable[str], shard_files: int, size_of: Callable[[str], int] = file_bytes
) -> Iterator[tuple[str, list[str]]]:
    """Group a stream of paths by cost class; one open group per class is all that is held.

    Args:
        paths: files, and URLs, whose size is not known.
        shard_files: how many texts make a full shard.
        size_of: the bytes of a file.

    >>> list(shards(["a.txt", "b.mp4", "c.txt", "d.txt"], 2))
    [('video', ['b.mp4']), ('text', ['a.txt', 'c.txt']), ('text', ['d.txt'])]
    """
    groups: dict[str, list[str]] = {}
    n_bytes = dict.fromkeys(CLASSES, 0)
    for path in paths:
        cost = cost_class(path)
        group = groups.setdefault(cost, [])
        group.append(path)
        n_bytes[cost] += size_of(path)
        if len(group) >= max(1, shard_files // _SHARE[cost]) or n_bytes[cost] >= _FULL_BYTES[cost]:
            n_bytes[cost] = 0
            yield cost, groups.pop(cost)
    yield from groups.items()
