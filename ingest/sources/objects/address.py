"""URLs of objects: ``s3://bucket/key``, ``sftp://host/folder/file``."""

from __future__ import annotations

import os
import re

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
