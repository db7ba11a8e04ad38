"""Which queue a file waits in: one per cost class, so that a film does not hold up a text. Pure."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Iterator

CLASSES = ("text", "image", "audio", "video")
PRIORITIES = {"interactive": 0, "normal": 3, "bulk": 6}
"""By name; a lower number is served first."""

_SHARE = {"text": 1, "image": 1, "audio": 8, "video": 64}
"""A shard holds this many times fewer files than one of texts."""


def cost_class(path: str) -> str:
    """What the name tells about the cost. A wrong name costs time and harms nothing.

    >>> [cost_class(name) for name in ("a.md", "b.JPG", "c.flac", "d.mkv", "no-suffix")]
    ['text', 'image', 'audio', 'video', 'text']
    """
    kind = (mimetypes.guess_type(path.lower(), strict=False)[0] or "").partition("/")[0]
    return kind if kind in CLASSES else "text"


def queue_name(cost: str) -> str:
    """The broker's queue of a cost class."""
    return f"anymodal.{cost}"


def shards(paths: Iterable[str], shard_files: int) -> Iterator[tuple[str, list[str]]]:
    """Group a stream of paths by cost class; one open group per class is all that is held.

    >>> list(shards(["a.txt", "b.mp4", "c.txt", "d.txt"], 2))
    [('video', ['b.mp4']), ('text', ['a.txt', 'c.txt']), ('text', ['d.txt'])]
    """
    groups: dict[str, list[str]] = {}
    for path in paths:
        cost = cost_class(path)
        group = groups.setdefault(cost, [])
        group.append(path)
        if len(group) >= max(1, shard_files // _SHARE[cost]):
            yield cost, groups.pop(cost)
    yield from groups.items()
