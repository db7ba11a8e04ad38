"""Where media comes from, and how its failures are told."""

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

    Raises:
        MediaError: the path is missing, may not be read, or is a folder, pipe or device.
    """
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        with _open_regular(os.fspath(source)) as file:
            yield file
    else:
        source.seek(0)
        yield source


def _open_regular(path: str) -> BinaryIO:
    try:
        # A pipe or a device would block or never end, so look before opening.
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 (path may be any PathLike)
            raise MediaError(
                f"{path} is a folder, pipe or device, not a file.",
                remedy="Name a regular file.",
            )
        return cast(BinaryIO, open(path, "rb"))  # noqa: PTH123 (closed by the caller)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"{path} cannot be read: {reason}.",
            remedy="Check that it exists and that you may read it.",
        ) from error


@contextmanager
def decoding(source: Source, what: str) -> Iterator[None]:
    """Turn whatever a decoder raises on hostile bytes into a `MediaError`."""
    try:
        yield
    except AnymodalError:
        raise
    except MemoryError as error:  # damaged headers ask for absurd sizes
        raise MediaLimitError(
            f"{name_of(source)} needs more memory than there is to be decoded as {what}.",
            remedy="If it opens elsewhere, split it or scale it down.",
        ) from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CorruptMediaError(
            f"{name_of(source)} cannot be decoded as {what}: {reason}.",
            remedy="Check that it opens elsewhere; if it does not, fetch or export it again.",
        ) from error
