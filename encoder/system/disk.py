"""Hash files; report disks that are full, read-only or closed to this user, with the folder."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from encoder.errors import DiskError
from encoder.system.environment import variable

_SPACE = "Free some space there and try again; whatever was stored stays."
_RIGHTS = "Let this user write there, or name another folder."
_REMEDIES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "Raise the file size limit (ulimit -f) and try again.",
    errno.EROFS: "Use a writable folder, or mount this one as writable.",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
}
_ERRNO = re.compile(r"\[Errno (\d+)\]")  # how a server quotes Python's OSError
RESERVE_BYTES = 64 * 2**20
"""Kept free: words are merged and rows are moved on top of what is written."""


def disk_error(error: BaseException, path: str | os.PathLike[str]) -> DiskError | None:
    """What an error, or the one that led to it, says about a disk; None if nothing."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DiskError):
            return cause
        if isinstance(cause, OSError) and cause.errno in _REMEDIES:
            return _told(cause.errno, path)
        cause = cause.__cause__ or cause.__context__
    return None


def disk_error_in(text: str, path: str | os.PathLike[str]) -> DiskError | None:
    """The same for a message from a server.

    >>> disk_error_in("[Errno 28] No space left on device", "/data").problem
    '/data cannot be written: No space left on device.'
    """
    code = _ERRNO.search(text)
    number = int(code[1]) if code else 0
    if not code and "no space left on device" in text.lower():
        number = errno.ENOSPC
    return _told(number, path) if number in _REMEDIES else None


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise what the disk refuses in this block as `DiskError`; other errors as they are."""
    try:
        yield
    except OSError as error:
        if disk_problem := disk_error(error, path):
            raise disk_problem from error
        raise


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder that exists for the duration of the block; a DiskError if there can be none."""
    try:
        folder = TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError as error:
        # Python tries several places, and says that none is "usable" with an error of its own.
        places = variable("TMPDIR") or "/tmp"
        disk_problem = disk_error(error, places) or _told(errno.ENOSPC, places)
        raise disk_problem from error
    with folder as name:
        yield Path(name)


def check_room(folder: Path, n_bytes: int = 0) -> None:
    """Raise a DiskError unless a folder, which need not exist yet, is writable and has room."""
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110 (never raises)
    free = shutil.disk_usage(there).free
    needed_bytes = n_bytes + RESERVE_BYTES
    if free < needed_bytes:
        raise DiskError(
            f"{folder} cannot be written: {_mb(free)} MB of its disk are free, "
            f"{_mb(needed_bytes)} MB are needed.",
            remedy=_SPACE,
        )
    if not os.access(there, os.W_OK):
        is_read_only = os.statvfs(there).f_flag & os.ST_RDONLY
        raise _told(errno.EROFS if is_read_only else errno.EACCES, folder)


def _told(number: int, path: str | os.PathLike[str]) -> DiskError:
    name = os.fsencode(path).decode(errors="backslashreplace")
    return DiskError(f"{name} cannot be written: {os.strerror(number)}.", remedy=_REMEDIES[number])


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f}"


def sha256_of(path: Path) -> str:
    """The file's sha256, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
