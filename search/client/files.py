"""Files as they are sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

Progress = Callable[[int, int], None]
"""Called with the bytes sent so far and the bytes of all files."""


@dataclass
class Sent:
    """How much of a request's files has been read for sending."""

    total: int
    on_progress: Progress | None = None
    n_bytes: int = 0

    def add(self, n_bytes: int) -> None:
        """Count them, and report."""
        self.n_bytes += n_bytes
        if self.on_progress and n_bytes:
            self.on_progress(self.n_bytes, self.total)


class FileToSend:
    """A file that is open only while it is read: a request can have a thousand.

    It has what `httpx2` needs from a file: a length by seeking, and reading from the start.
    """

    def __init__(self, path: Path, sent: Sent) -> None:
        self._path = path
        self._sent = sent
        self._at = 0
        self._file: BinaryIO | None = None

    def tell(self) -> int:
        """The position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to ``offset`` from the start or the end."""
        self._close()
        self._at = offset + (self._path.stat().st_size if whence == os.SEEK_END else 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """The next bytes; empty at the end, which closes the file."""
        if self._file is None:
            self._file = self._path.open("rb")
            self._file.seek(self._at)
        data = self._file.read(size)
        self._at += len(data)
        self._sent.add(len(data))
        if not data:
            self._close()
        return data

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
