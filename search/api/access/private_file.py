"""A JSON file that only its owner can read, shared by the processes of a service."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from encoder.errors import InputError
from encoder.system.private import private_folder, private_opener


class PrivateFile:
    """Records in a file, changed by one process at a time and written atomically.

    Args:
        path: created with the first change.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def stamp(self) -> tuple[int, int] | None:
        """A stamp that differs after each change; None if there is no file."""
        try:
            facts = self.path.stat()
        except FileNotFoundError:
            return None
        return facts.st_mtime_ns, facts.st_ino

    def read(self) -> Any:
        """Its content; an empty list if there is no file.

        Raises:
            InputError: it is not JSON.
        """
        try:
            return json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise InputError(
                str(self.path),
                got="a file that is not JSON",
                wanted="the file as anymodal wrote it",
            ) from error

    @contextmanager
    def changing(self) -> Iterator[list[dict[str, Any]]]:
        """Its records, to change in place; written at the end of the block, unless it raises."""
        private_folder(self.path.parent)
        with FileLock(self.path.with_suffix(".lock"), mode=0o600):
            records: list[dict[str, Any]] = self.read()
            yield records
            partial = self.path.with_suffix(f".{os.getpid()}")
            with open(partial, "w", opener=private_opener) as file:
                json.dump(records, file, indent=1)
            partial.replace(self.path)
