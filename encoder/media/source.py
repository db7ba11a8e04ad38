"""Sources of media, and the errors of reading them."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeAlias, cast

from encoder.errors import AnymodalError, CorruptMediaError, MediaError, MediaLimitError

Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
"""A path, the bytes of a file, or an open, seekable binary file."""


def name_of(source: Source) -> str:
    """What to call the source in a message."""
    if isinstance(source, bytes):
        return f"<{len(source)} bytes>"
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "name", "<file object>"))


@contextmanager
def opened(source: Source) -> Iterator[BinaryIO]:
    """The source as a seekable binary file, closed afterwards if it was opened here.

    Raises a MediaError if the path is missing, may not be read, or is no file.
    """
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        with _open_regular(os.fspath(source)) as file:
            yield file
    else:
        source.seek(0)
        yield source


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def _open_regular(path: str) -> BinaryIO:
    try:
        # Merely opening a device may do something, so check first.
        _check_regular(path, os.stat(path))  # noqa: PTH116 (path may be any PathLike)
        return cast(BinaryIO, open(path, "rb", opener=_open_checked))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"{path} cannot be read: {reason}.",
            remedy="Check that it exists and that you may read it.",
        ) from error


def _open_checked(path: str, flags: int) -> int:
    # A pipe may have taken the file's place since that check: do not wait for a writer.
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    try:
        _check_regular(path, os.fstat(descriptor))
    except MediaError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(path: str, facts: os.stat_result) -> None:
    file_type = stat.S_IFMT(facts.st_mode)
    if file_type != stat.S_IFREG:
        raise MediaError(
            f"{path} is {_KINDS.get(file_type, 'something special')}, not a file.",
            remedy="Name a regular file.",
        )


@contextmanager
def decoding(source: Source, what: str) -> Iterator[None]:
    """Turn whatever a decoder raises on hostile bytes into a `MediaError`."""
    try:
        yield
    except AnymodalError:
        raise
    except MemoryError as error:  # damaged headers ask for absurd sizes
        raise MediaLimitError(
            f"{name_of(source)} needs more memory than is available to decode it as {what}.",
            remedy="If it opens elsewhere, split it or scale it down.",
        ) from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".") or type(error).__name__
        raise CorruptMediaError(
            f"{name_of(source)} cannot be decoded as {what}: {reason}.",
            remedy="Check that it opens elsewhere; if it does not, fetch or export it again.",
        ) from error
