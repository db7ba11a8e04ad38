"""Send the files of assets so that no browser executes them."""

from __future__ import annotations

import codecs
import os
import re
import stat
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import quote

from blake3 import blake3
from fastapi.responses import FileResponse, Response, StreamingResponse

from encoder.errors import MediaError, MediaLimitError, UnsupportedMediaError
from encoder.media.formats import IMAGE_TYPES
from search.api.ports import Decoder, RemoteFile
from search.api.responses.plain_values import file_name
from search.errors import NotFoundError
from search.query.byte_cache import ByteCache
from search.types import AssetRow

STILL_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""For what may have a look of its own, and runs and loads nothing."""
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


_OBJECT = re.compile(r"(?!https?:)[a-z][a-z0-9+.-]*://")
_PLAYED = re.compile(r"(audio|video)/[\w.+-]+")
_LABELS = {
    "big5hkscs": "big5",
    "cp866": "ibm866",
    "cp932": "shift_jis",
    "cp949": "euc-kr",
    "cp950": "big5",
    "euc_jis_2004": "euc-jp",
    "euc_jisx0213": "euc-jp",
    "euc_kr": "euc-kr",
    "johab": "euc-kr",
    "mac-cyrillic": "x-mac-cyrillic",
    "mac-roman": "macintosh",
    "shift_jis_2004": "shift_jis",
    "shift_jisx0213": "shift_jis",
    "tis-620": "windows-874",
    "utf-16-be": "utf-16be",
    "utf-16-le": "utf-16le",
    "utf-8-sig": "utf-8",
}
"""Labels for Python's names that browsers do not know; they read a byte order mark themselves."""
_READ_AS_TEXT = frozenset(
    {
        *("text/html", "text/markdown", "text/plain", "text/x-source"),
        *("text/csv", "text/tab-separated-values"),
        *("application/json", "application/jsonl", "application/xml"),
    }
)


class HeldFile(FileResponse):
    """A file that is sent whole, even if it is removed before the first byte.

    Args:
        file: its path, or its open descriptor, which is closed with the response.
        media_type: for the client.
        headers: of the answer.
    """

    def __init__(self, file: Path | int, media_type: str, headers: Mapping[str, str]) -> None:
        descriptor = file if isinstance(file, int) else os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, descriptor)  # even if nobody reads the response
        super().__init__(f"/dev/fd/{descriptor}", media_type=media_type, headers=headers)


@contextmanager
def file_of(asset: AssetRow, decoder: Decoder) -> Iterator[Path]:
    """A file that holds the asset; a temporary copy lasts for the length of the block."""
    with ExitStack() as held:
        yield _found(asset, decoder, held)


def _found(asset: AssetRow, decoder: Decoder, exits: ExitStack) -> Path:
    if path := on_disk(asset):
        return path
    for uri in filter(_OBJECT.match, asset.locations):
        try:
            return exits.enter_context(decoder.copied(uri, asset.metadata))
        except MediaLimitError:
            raise
        except MediaError:  # gone, changed or out of reach
            continue
    for uri in asset.locations:
        if Path(uri).is_absolute():
            with suppress(MediaError):
                return exits.enter_context(decoder.unpacked(uri, asset.asset_id))
    raise not_here(asset)


def content_of(
    asset: AssetRow, decoder: Decoder, request_headers: Mapping[str, str] = MappingProxyType({})
) -> Response:
    """The response with an asset's file; 304 if the client has it."""
    if asset.media_type not in _READ_AS_TEXT and (
        answer := _remote(asset, decoder, request_headers)
    ):
        return answer
    with file_of(asset, decoder) as path:
        headers = content_headers(asset, path)
        if headers["ETag"] in request_headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        try:
            kind = asset.media_type
            codec = decoder.charset(path, kind) if kind in _READ_AS_TEXT else ""
            open_file = held_file(path, asset)
        except (OSError, MediaError):  # removed since, or not ours to read
            raise not_here(asset) from None
        if open_file is None:
            raise not_here(asset)
        return HeldFile(open_file, content_type(kind, codec), headers)


def _remote(
    asset: AssetRow, decoder: Decoder, request_headers: Mapping[str, str]
) -> Response | None:
    """The response with an object that holds the asset; None if a file on this machine does."""
    objects = [uri for uri in asset.locations if _OBJECT.match(uri)]
    if not objects or on_disk(asset):
        return None
    headers = content_headers(asset, objects[0])
    if headers["ETag"] in request_headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    files = (decoder.remote(uri, asset.metadata) for uri in objects)
    file = next(filter(None, files), None)
    if file is None:
        return None
    return remote_content(file, content_type(asset.media_type), headers, request_headers)


def picture_of(asset: AssetRow, decoder: Decoder, at_s: float, page: int, size: int) -> bytes:
    """A small WebP preview of an asset: of a film, at a given time; of a document, one page."""
    with file_of(asset, decoder) as path:
        try:
            drawn = decoder.picture(path, asset.media_type, at_s, page, size)
            if is_unchanged(path, asset):
                return drawn
        except UnsupportedMediaError as error:
            raise NotFoundError(
                f"{asset.asset_id} is {asset.modality} ({asset.media_type}), which has no picture."
            ) from error
        except MediaError:
            if is_unchanged(path, asset):
                raise
    return picture_of(asset, decoder, at_s, page, size)  # changed while it was read


def content_type(media_type: str, codec: str = "utf-8") -> str:
    """The media type for browsers: pictures, sound, film and plain text as they are.

    >>> content_type("text/html", "gb18030"), content_type("text/plain", "cp1251")
    ('text/plain; charset=gb18030', 'text/plain; charset=windows-1251')
    >>> content_type("image/svg+xml"), content_type("video/mp4")
    ('application/octet-stream', 'video/mp4')
    """
    if media_type in _READ_AS_TEXT:
        return f"text/plain; charset={_label(codec)}"
    known = media_type in IMAGE_TYPES or _PLAYED.fullmatch(media_type)
    return media_type if known else "application/octet-stream"


def _label(codec: str) -> str:
    """The browsers' name for a codec (WHATWG Encoding, 4.2)."""
    try:
        name = codecs.lookup(codec).name
    except LookupError:
        return "utf-8"
    if name in _LABELS:
        return _LABELS[name]
    name = re.sub(r"^cp(?=125\d$|874$)", "windows-", name)
    return re.sub(r"^iso8859", "iso-8859", name).replace("_", "-")


def content_headers(asset: AssetRow, path: str | Path) -> dict[str, str]:
    """Headers besides the type: nothing in it may run; it may be cached, since an id is a hash."""
    how = "attachment" if content_type(asset.media_type).startswith("application/") else "inline"
    # A file extracted from an archive temporarily has a different name.
    place = str(path) if str(path) in asset.locations else asset.locations[0]
    name = file_name(place).encode(errors="replace")
    return {
        "Content-Disposition": f"{how}; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": STILL_POLICY,
        "Cache-Control": "private, max-age=86400, immutable",
        "ETag": f'"{asset.asset_id}"',
    }


def picture_headers() -> dict[str, str]:
    """Headers of a thumbnail: the id in its address is a hash, so it never changes."""
    return {"Cache-Control": "private, max-age=31536000, immutable"}


def not_here(asset: AssetRow) -> NotFoundError:
    """The error for an asset whose file cannot be had."""
    return NotFoundError(
        f"The file of {asset.asset_id} is missing or has changed.",
        "Ingest it again, from where this server can read it.",
    )


_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")


def remote_content(
    file: RemoteFile,
    media_type: str,
    headers: Mapping[str, str],
    request_headers: Mapping[str, str],
) -> Response:
    """The whole of a file, or the range that a client asks for; 416 if it has no such range.

    For several ranges, which a server may ignore, the whole file is sent.
    """
    size = file.size_bytes
    all_headers = {**headers, "Accept-Ranges": "bytes"}
    range_header = request_headers.get("range", "")
    if request_headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        range_header = ""
    start, end = span(range_header, size)
    if start >= end and range_header:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    status = 206 if (start, end) != (0, size) else 200
    if status == 206:
        all_headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    all_headers["Content-Length"] = str(end - start)
    if request_headers.get("method") == "HEAD":
        return Response(b"", status, all_headers, media_type)
    return StreamingResponse(file.pieces(start, end), status, all_headers, media_type)


def span(header: str, size: int) -> tuple[int, int]:
    """The first byte of a range, and the one after its last; the whole file if it is not one.

    >>> span("bytes=2-3", 9), span("bytes=7-", 9), span("bytes=-4", 9), span("", 9)
    ((2, 4), (7, 9), (5, 9), (0, 9))
    >>> span("bytes=9-", 9), span("bytes=0-1,4-5", 9)
    ((9, 9), (0, 9))
    """
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if not match or not (match[1] or match[2]):
        return 0, size
    if not match[1]:
        return max(size - _number(match[2]), 0), size
    start, last = _number(match[1]), _number(match[2]) if match[2] else size
    if match[2] and last < start:
        return 0, size
    return min(start, size), min(last + 1, size)


def _number(digits: str) -> int:
    """A position in a file; what no file reaches is one number, since int() refuses 5,000 digits.

    >>> _number("007"), _number("9" * 5000)
    (7, 9223372036854775808)
    """
    digits = digits.lstrip("0")
    return min(int(digits or "0"), 2**63) if len(digits) < 20 else 2**63
