"""A folder for a word index that outlasts its process, with a note of what it holds."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from encoder.system.private import private_folder

_KNOWN = "known.json"


class KeptFolder:
    """The first folder below ``home`` that no other process uses; a killed one's becomes free.

    Args:
        home: the parent of all folders for one store.

    Raises:
        OSError: nothing can be written there.
    """

    def __init__(self, home: Path) -> None:
        private_folder(home)
        for number in count():
            self._lock = (home / f"{number}.lock").open("w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.close()
                continue
            self.path = home / str(number)
            private_folder(self.path)
            return

    def known(self) -> dict[str, int]:
        """Each asset's number of segments, as of the last `keep`; empty if nothing is known."""
        try:
            found: dict[str, int] = json.loads((self.path / _KNOWN).read_text())
        except (OSError, ValueError):
            return {}
        return found

    def keep(self, known: Mapping[str, int]) -> None:
        """Note atomically that the index holds these; call it after a commit."""
        partial = self.path / f"{_KNOWN}.new"
        partial.write_text(json.dumps(known))
        partial.replace(self.path / _KNOWN)

    def clear(self) -> None:
        """Empty the folder."""
        shutil.rmtree(self.path)
        private_folder(self.path)

    def close(self) -> None:
        """Let another process use it."""
        self._lock.close()
