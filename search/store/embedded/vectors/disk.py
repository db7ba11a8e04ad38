"""Arrays at an offset in a file, and faiss indexes in files."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.store.embedded.tables import DamagedError

_SUM_BYTES = 4


def put(path: Path, start: int, values: NDArray[Any]) -> None:
    """Write to a file, which is created if missing, and sync it to disk."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        view, done = np.ascontiguousarray(values).view(np.uint8).reshape(-1).data, 0
        while done < len(view):
            done += os.pwrite(file, view[done:], start + done)
        os.fdatasync(file)
    finally:
        os.close(file)


def read_into(file: int, values: NDArray[Any], start: int) -> None:
    """Fill in values from an open file.

    Raises:
        DamagedError: it is too short.
    """
    view, done = values.view(np.uint8).reshape(-1).data, 0
    while done < len(view):
        read = os.preadv(file, [view[done:]], start + done)
        if not read:
            raise DamagedError
        done += read


def seal(path: Path) -> None:
    """Append to a file the checksum of what is in it."""
    with path.open("r+b") as file:
        file.write(zlib.crc32(file.read()).to_bytes(_SUM_BYTES, "big"))


def unsealed(path: Path) -> bytes | None:
    """What was sealed; None if the file is missing, or was changed since."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    held, checksum = content[:-_SUM_BYTES], content[-_SUM_BYTES:]
    return held if zlib.crc32(held).to_bytes(_SUM_BYTES, "big") == checksum else None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which replaces a file unless there is an error.

    Other processes and threads may write the same file at once.
    """
    partial = path.with_name(f"{path.name}-{os.getpid()}-{get_ident()}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def keep_index(path: Path, index: Any) -> None:
    """Write an index atomically.

    Raises:
        OSError: it could not be written.
    """
    import faiss

    with replacing(path) as partial:
        try:
            faiss.write_index(index, str(partial))
            seal(partial)
        except RuntimeError as error:
            raise OSError(str(error)) from error


def opened_index(path: Path, n_rows: int, flags: int = 0) -> Any:
    """An index that was kept; None if it is missing, damaged or has a different number of rows."""
    import faiss

    if unsealed(path) is None:
        return None
    try:
        index = faiss.read_index(str(path), flags)
    except (RuntimeError, OSError):
        return None
    return index if index.ntotal == n_rows else None
