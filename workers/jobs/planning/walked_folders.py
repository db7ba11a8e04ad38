"""The folders among the paths of an ingest, and which of them were read to the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class WalkedFolders:
    """Notified by `ingest.sources.folders` of folders that cannot be read.

    Args:
        paths: as they are given to it: files, folders and URLs.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        from ingest.sources.remote import is_url

        self._folders = [Path(path) for path in paths if not is_url(path) and _is_folder(path)]
        self._unread: set[Path] = set()

    def unread(self, folder: Path) -> None:
        """Note that a folder, or one in it, could not be read."""
        self._unread.add(folder)

    def complete(self) -> list[str]:
        """The folders of which everything was seen; to be asked after the walk."""
        return [str(folder) for folder in self._folders if folder not in self._unread]


def _is_folder(path: str) -> bool:
    try:
        return Path(path).expanduser().is_dir()
    except OSError:
        return False
