"""The files in an archive, as pieces of their content, within limits on what they unpack to."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import PurePath
from typing import BinaryIO
from zipfile import BadZipFile, ZipFile, ZipInfo

import lz4.frame

from encoder.errors import CorruptMediaError, MediaError, MediaLimitError, UnsupportedMediaError
from ingest.config import IngestConfig, check
from ingest.kinds.attachments import Piece, attached_to, may_hold_files, told_name
from ingest.kinds.charset import encoding_of
from ingest.kinds.zip_type import ZIP, type_by_directory
from ingest.location import inside
from ingest.types import Asset

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ONLY = "only"
"""The key in an archive's metadata for the one file in it to unpack."""

_PIECE_BYTES = 4 * 2**20
_RATIO = 200
"""Deflate packs text at most about 20 times smaller, and zeros 1,000 times."""

_LEAST_BYTES = 64 * 2**20
"""Below this size, how well something is packed is not checked."""

_DAMAGED = (
    *(OSError, EOFError, BadZipFile, ValueError, RuntimeError),
    *(zlib.error, lzma.LZMAError, zstd.ZstdError),
)
"""What the libraries raise on damaged data."""

_SAYS_UTF8 = 0x800
_OF_NAMES = frozenset({"utf-8", "gb18030", "big5hkscs", "cp932", "cp949", "cp866"})
_CLUTTER = frozenset({"__MACOSX", "META-INF", "Thumbs.db", "desktop.ini", "mimetype"})
_NO_ARCHIVES = (b"mimetype", b"[Content_Types].xml")
"""The name of the first entry in documents that are ZIP files."""


def is_clutter(name: str) -> bool:
    """Whether a file is hidden, or added by a system or by the format of a container for itself."""
    parts = PurePath(name.replace("\\", "/")).parts
    hidden = any(part.startswith(".") and part != ".." for part in parts)
    return hidden or not _CLUTTER.isdisjoint(parts)


def is_packed(start: bytes) -> bool:
    """Whether a file that starts like this is an archive or packed; ZIP-based documents are not."""
    if start.startswith(ZIP):
        return not start[30:].startswith(_NO_ARCHIVES)
    return start.startswith(tuple(_OPENERS)) or _is_tar(start)


def _is_tar(start: bytes) -> bool:
    """Whether its first header has the right sum; those before 1988 have no mark."""
    try:
        tarfile.TarInfo.frombuf(start[:512], "latin-1", "replace")
    except tarfile.HeaderError:
        return False
    return True


_OPENERS = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"\x28\xb5\x2f\xfd": zstd.open,
    b"\x04\x22\x4d\x18": lz4.frame.open,
}


class Unpacking:
    """Counts what an archive unpacks to.

    Args:
        archive: or a mail. Its metadata may name the one file that is wanted, under `ONLY`.
        config: the limits.
    """

    def __init__(self, archive: Asset, config: IngestConfig) -> None:
        self._uri = archive.uri
        self._size_bytes = archive.size_bytes
        self._config = config
        self._only = str(archive.metadata.get(ONLY, ""))
        self._n_bytes = self._n_members = 0

    def pieces(self, file: BinaryIO, stem: str, depth: int = 1) -> Iterator[Piece]:
        """The content of each file, one after another; archives within are unpacked too.

        Args:
            file: the archive.
            stem: the name of the one file in it, if it is only packed.
            depth: how deeply it is nested in archives and mails, counting itself.

        Raises:
            MediaLimitError: too many files, too many bytes, or packed too well.
        """
        start = file.read(512)
        file.seek(0)
        members = self._zipped(file) if start.startswith(ZIP) else self._streamed(file, start, stem)
        yield from self.counted(members, depth)

    def counted(
        self, members: Iterable[tuple[Piece, BinaryIO | None]], depth: int = 1
    ) -> Iterator[Piece]:
        """The content of the files that something holds, as in `pieces`."""
        for piece, content in members:
            if is_clutter(piece.name):
                continue
            self._n_members += 1
            check(self._uri, "max_archive_files", self._n_members, self._config)
            piece = piece._replace(number=self._n_members)
            if depth == 1 and not self._is_wanted(piece.name):
                continue
            if piece.problem or content is None:
                yield piece
            else:
                yield from self._member(piece, content, depth)

    def _is_wanted(self, name: str) -> bool:
        """Whether it is the file that is wanted, or an archive that contains it."""
        shown_name = told_name(name)
        return (
            not self._only
            or self._only == shown_name
            or self._only.startswith(inside(shown_name, ""))
        )

    def _member(self, packed: Piece, content: BinaryIO, depth: int) -> Iterator[Piece]:
        try:
            data = content.read(_PIECE_BYTES)
            self._count(len(data))
            if not is_packed(data):
                yield from self._plain(packed, data, content, depth)
                return
            check(inside(self._uri, packed.name), "max_archive_depth", depth + 1, self._config)
            inner = io.BytesIO(data + self._rest(content))
            if data.startswith(ZIP) and type_by_directory(inner, packed.name):
                yield packed._replace(data=inner.getvalue())
                return
            inner.seek(0)
            stem = PurePath(packed.name).stem
            for piece in self.pieces(inner, stem, depth + 1):
                yield piece._replace(name=inside(packed.name, piece.name))
        except (*_DAMAGED, CorruptMediaError) as error:
            yield packed._replace(problem=self._damaged(packed.name, error))
        except MediaLimitError as error:
            if "max_archive_depth" not in error.problem:
                raise
            yield packed._replace(problem=error)

    def _plain(self, piece: Piece, data: bytes, content: BinaryIO, depth: int) -> Iterator[Piece]:
        """A file piece by piece, then the files that it holds."""
        holds_files = may_hold_files(data)
        read = data
        yield piece._replace(data=data)
        while data := content.read(_PIECE_BYTES):
            self._count(len(data))
            if holds_files and len(read) <= self._config.max_document_bytes:
                read += data
            yield piece._replace(data=data)
        # A larger one is refused when it is read, and so is what it holds.
        if holds_files and len(read) <= self._config.max_document_bytes:
            yield from self._held(piece, attached_to(read, piece.name), depth + 1)

    def _held(
        self, holder_piece: Piece, files: Iterator[tuple[Piece, BinaryIO]], depth: int
    ) -> Iterator[Piece]:
        try:
            for piece in self.counted(files, depth):
                piece = piece._replace(name=inside(holder_piece.name, piece.name))
                uri = inside(self._uri, piece.name)
                try:
                    check(uri, "max_archive_depth", depth, self._config)
                except MediaLimitError as error:
                    piece = piece._replace(data=b"", problem=error)
                yield piece
        except CorruptMediaError as error:
            yield holder_piece._replace(problem=error)

    def _rest(self, content: BinaryIO) -> bytes:
        """The rest of an archive within an archive, which is held in memory."""
        remainder = content.read(self._config.max_document_bytes + 1)
        check(self._uri, "max_document_bytes", len(remainder), self._config)
        self._count(len(remainder))
        return remainder

    def _count(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        check(self._uri, "max_archive_bytes", self._n_bytes, self._config)
        if self._n_bytes > max(_LEAST_BYTES, _RATIO * self._size_bytes):
            raise MediaLimitError(
                f"{self._uri} unpacks to more than {_RATIO} times its {self._size_bytes:,} bytes.",
                remedy="It looks like a bomb. If you trust it, unpack it and add its files.",
            )

    def _zipped(self, file: BinaryIO) -> Iterator[tuple[Piece, BinaryIO | None]]:
        with ZipFile(file) as archive:
            for entry in archive.infolist():
                if entry.is_dir():
                    continue
                piece = Piece(_zip_name(entry), modified_s=_zip_time_s(entry))
                if entry.flag_bits & 1:
                    yield piece._replace(problem=self._encrypted(piece.name)), None
                    continue
                try:
                    with archive.open(entry) as content:
                        yield piece, content  # type: ignore[misc]
                except _DAMAGED as error:
                    yield piece._replace(problem=self._damaged(piece.name, error)), None

    def _streamed(
        self, file: BinaryIO, start: bytes, stem: str
    ) -> Iterator[tuple[Piece, BinaryIO | None]]:
        """A tar file, packed or not, or one packed file."""
        opener = next((o for mark, o in _OPENERS.items() if start.startswith(mark)), None)
        head = opener(file).read(512) if opener else start
        file.seek(0)
        unpacked: BinaryIO = opener(file) if opener else file
        if not _is_tar(head):
            yield Piece(stem), unpacked
            return
        with tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for entry in archive:
                if entry.isreg():
                    content = archive.extractfile(entry)
                    yield Piece(entry.name, modified_s=entry.mtime), content  # type: ignore[misc]

    def _damaged(self, name: str, error: Exception) -> MediaError:
        if isinstance(error, NotImplementedError):
            return UnsupportedMediaError(
                f"{inside(self._uri, name)} is packed by a method that is not supported.",
                remedy="Unpack the archive with 7-Zip, and add the files.",
            )
        return CorruptMediaError(
            f"{inside(self._uri, name)} cannot be unpacked: {error or type(error).__name__}.",
            remedy="The archive is damaged: fetch or make it again.",
        )

    def _encrypted(self, name: str) -> UnsupportedMediaError:
        return UnsupportedMediaError(
            f"{inside(self._uri, name)} is encrypted.",
            remedy="Unpack the archive with its password, and add the files.",
        )


def _zip_name(entry: ZipInfo) -> str:
    """Its name: outside the West, many programs write it in UTF-8 or as Windows does, unsaid."""
    if entry.flag_bits & _SAYS_UTF8 or entry.filename.isascii():
        return entry.filename
    raw = entry.filename.encode("cp437")  # by which Python decoded it
    encoding = encoding_of(io.BytesIO(raw))
    return raw.decode(encoding, "replace") if encoding in _OF_NAMES else entry.filename


def _zip_time_s(entry: ZipInfo) -> float:
    try:
        return datetime(*entry.date_time, tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
