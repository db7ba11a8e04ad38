"""URLs of objects such as ``s3://bucket/key``, their options, and what is known of them. Pure."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from blake3 import blake3

from ingest.config import IngestConfig
from ingest.errors import SourceError

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE | re.DOTALL)
_ALIASES = {"dav": "webdav", "davs": "webdavs", "gcs": "gs", "s3a": "s3", "ssh": "sftp"}
_NOT_OBJECTS = ("file", "http", "https")


def is_object(path: str) -> bool:
    """Whether a source is a URL of an object store or a file server, not a path or a web page.

    >>> [is_object(path) for path in ("s3://b/k", "SFTP://h/a", "https://h/a", "/s3://b", "a:b")]
    [True, True, False, False, False]
    """
    match = _URL.fullmatch(path)
    return match is not None and match[1].lower() not in _NOT_OBJECTS


def local_path(path: str) -> str:
    """The path that a ``file://`` URL names, as it is written; anything else as it is.

    >>> local_path("file:///srv/a b.txt"), local_path("s3://b/k")
    ('/srv/a b.txt', 's3://b/k')
    """
    match = _URL.fullmatch(path)
    return "/" + match[2].lstrip("/") if match and match[1].lower() == "file" else path


def normal(url: str) -> str:
    """The one way to write a URL: the scheme in small letters and without aliases.

    What follows the host is an object's name as it is; nothing in it is an escape or a query.

    >>> normal("S3A://photos/2024/a b?.jpg"), normal("gs://photos")
    ('s3://photos/2024/a b?.jpg', 'gs://photos/')

    Raises:
        SourceError: it names no bucket or host, or it has a password.
    """
    match = _URL.fullmatch(url)
    scheme, address = (match[1].lower(), match[2]) if match else ("", url)
    host, _, path = address.partition("/")
    if ":" in host.rpartition("@")[0]:
        raise SourceError(
            f"{scheme}://{host.rpartition('@')[2]}/{path}: the URL has a password, which would be "
            "stored and shown.",
            remedy="Leave it out and set it in ANYMODAL_INGEST__STORAGE_OPTIONS.",
        )
    scheme = _ALIASES.get(scheme, scheme)
    if not host and scheme != "memory":
        raise SourceError(
            f"{url} names no bucket or host.", remedy=f"Write it as {scheme}://bucket/folder/."
        )
    return f"{scheme}://{host}/{path}"


def whole_path(path: str) -> str:
    """A path made absolute, a URL of objects as `normal` writes it, any other URL as it is.

    Nothing need be there, and links are not followed.

    Raises:
        SourceError: see `normal`.
    """
    path = local_path(path)
    if _URL.fullmatch(path):
        return normal(path) if is_object(path) else path
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111


def scheme_of(url: str) -> str:
    """The scheme of a URL as `normal` writes it."""
    return url.partition("://")[0]


def folder(url: str) -> str:
    """The same URL with a slash at its end."""
    return url if url.endswith("/") else f"{url}/"


def bucket_path(url: str) -> str:
    """Bucket or host and what follows, as an absolute path: ``/bucket/key``."""
    return "/" + url.partition("://")[2]


_SECRET = re.compile("auth|cred|key|pass|sas|secret|string|token", re.IGNORECASE)


def options_for(url: str, config: IngestConfig) -> dict[str, Any]:
    """The options for a URL: those of its scheme, then those of its prefixes, the shortest first.

    >>> said = '{"s3": {"anon": true}, "s3://a/": {"anon": false}}'
    >>> options_for("s3://a/b", IngestConfig(storage_options=said))
    {'anon': False}
    """
    options_by_prefix = json.loads(config.storage_options.get_secret_value())
    options: dict[str, Any] = {}
    for beginning in sorted(options_by_prefix, key=len):
        if beginning == scheme_of(url) or ("://" in beginning and url.startswith(beginning)):
            options |= options_by_prefix[beginning]
    if isinstance(options.get("auth"), list):  # httpx, under webdav4, wants a tuple
        options["auth"] = tuple(options["auth"])
    return options


def secrets_in(options: Mapping[str, Any], is_secret: bool = False) -> Iterator[str]:
    """The values of options that no message may show."""
    for name, value in options.items():
        hidden = is_secret or bool(_SECRET.search(name))
        for element in value if isinstance(value, list | tuple) else [value]:
            if isinstance(element, Mapping):
                yield from secrets_in(element, hidden)
            elif hidden and isinstance(element, str) and len(element) > 3:
                yield element


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
