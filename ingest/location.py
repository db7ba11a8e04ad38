"""Where a content lies: in a file, or in archives and mails within a file."""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable
from dataclasses import dataclass

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
INSIDE = "!/"
"""Separates an archive from a file in it."""


def inside(holder: str, name: str) -> str:
    """The URI of a file in an archive.

    >>> inside("/a.zip", "b/c.txt")
    '/a.zip!/b/c.txt'
    """
    return f"{holder}{INSIDE}{name}"


def is_path(source: str) -> bool:
    """Whether a source is a path on this machine, not the URL of a page or an object.

    >>> [is_path(source) for source in ("/a", "a:b", "file:///a", "S3://b/k", "https://h/a")]
    [True, True, True, False, False]
    """
    scheme = _SCHEME.match(source)
    return scheme is None or scheme[1].lower() == "file"


@dataclass(frozen=True)
class Location:
    """A file, and what leads from there to a file within it.

    A URI alone does not say where the file ends, since folders too may be called ``Party!``. What
    is on the disk does, so every URI is read here.

    Args:
        file: a path, or the URL of an object.
        members: the path in the file, then in the archive at that path, and so on.
    """

    file: str
    members: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The URI that stores hold."""
        return INSIDE.join((self.file, *self.members))

    @classmethod
    def readings(cls, uri: str) -> list[Location]:
        """All that a URI may mean, from the outermost archive to a mere file.

        >>> [place.file for place in Location.readings("/Party!/a.zip!/b.txt")]
        ['/Party', '/Party!/a.zip', '/Party!/a.zip!/b.txt']
        """
        parts = uri.split(INSIDE)
        cuts = range(1, len(parts) + 1)
        return [cls(INSIDE.join(parts[:cut]), tuple(parts[cut:])) for cut in cuts]

    @classmethod
    def of(cls, uri: str, is_file: Callable[[str], bool] = os.path.isfile) -> Location:
        """What a URI means: the longest path at which there is a file; a file if there is none.

        >>> Location.of("/Party!/a.zip!/b/c.txt", {"/Party!/a.zip"}.__contains__)
        Location(file='/Party!/a.zip', members=('b/c.txt',))
        """
        readings = cls.readings(uri)[::-1]
        return next((location for location in readings if is_file(location.file)), readings[0])
