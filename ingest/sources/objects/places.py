"""What is known of an object without reading it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from blake3 import blake3

VERSIONS = "object_versions"
"""The key in an asset's metadata for the versions of the objects that hold it."""

_TAGS = ("ETag", "etag", "content_md5", "md5Hash", "checksum")
_TIMES = ("LastModified", "last_modified", "modified", "updated", "mtime", "created")
_PLACE_CHARS, _VERSION_CHARS = 8, 24


@dataclass(frozen=True)
class ObjectFacts:
    """An object at one moment.

    ``tag`` changes with the content: the ETag, else the time of change. ``modified_s`` counts
    seconds since 1970; it is 0 if the server does not say.
    """

    url: str
    size_bytes: int
    modified_s: float
    tag: str

    @property
    def version(self) -> str:
        """A short hash of place, tag and size, which does not reveal them.

        Its first characters are the place's, so that `versions_at` knows which to keep.
        """
        content = f"{self.tag}\n{self.size_bytes}"
        return _place(self.url) + blake3(content.encode()).hexdigest()[:_VERSION_CHARS]


class FoundObject(str):
    """The URL of a listed object, which knows its size."""

    size_bytes: int

    def __new__(cls, url: str, size_bytes: int = 0) -> FoundObject:
        """Make one."""
        url_with_size = super().__new__(cls, url)
        url_with_size.size_bytes = size_bytes
        return url_with_size


def facts_from(url: str, info: Mapping[str, Any]) -> ObjectFacts:
    """What fsspec says of an object; its file systems name the same things differently."""
    modified = next((info[name] for name in _TIMES if info.get(name)), 0.0)
    modified_s = modified.timestamp() if isinstance(modified, datetime) else _number(modified)
    tag = next((str(info[name]) for name in _TAGS if info.get(name)), str(modified))
    return ObjectFacts(url, int(info.get("size") or 0), round(modified_s, 3), tag.strip('"'))


def version_of(versions: object, url: str) -> str:
    """The version of an object when it was stored, by the metadata; empty if unknown."""
    return next(
        (str(version) for version in _listed(versions) if str(version).startswith(_place(url))), ""
    )


def versions_at(metadata: Iterable[object], locations: Iterable[str]) -> list[str]:
    """The last version of each object at these locations.

    Args:
        metadata: values of `VERSIONS`, the latest at the end.
        locations: of an asset.
    """
    known_versions = [
        str(known_version) for versions in metadata for known_version in _listed(versions)
    ]
    last = {version[:_PLACE_CHARS]: version for version in known_versions}
    return [
        last[url_hash] for url_hash in dict.fromkeys(map(_place, locations)) if url_hash in last
    ]


def _listed(versions: object) -> Sequence[object]:
    return versions if isinstance(versions, list | tuple) else ()


def _place(url: str) -> str:
    return blake3(url.encode(errors="surrogateescape")).hexdigest()[:_PLACE_CHARS]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
