"""Which files an agent may name: those in the folders that its user gave it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from encoder.errors import MediaError
from ingest.sources.ignored import Ignored


class AgentRoots:
    """Folders that an agent may read files from, after links are resolved.

    Args:
        folders: at least one. A hidden one may be given, but nothing hidden within one is read.

    Raises:
        MediaError: one of them is no folder.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = [folder.expanduser().resolve() for folder in folders]
        for folder in self._folders:
            if not folder.is_dir():
                raise MediaError(f"{folder} is not a folder.", remedy="Give one that exists.")

    def locate(self, name: str) -> Path:
        """Where a file or folder lies that an agent names, without links.

        Raises:
            MediaError: it is missing, outside the folders, hidden, or left out by an ignore file.
        """
        try:
            path = Path(name).expanduser().resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # RuntimeError: links in a circle, or no home
            raise MediaError(f"{name} does not exist.", remedy="Give paths that exist.") from None
        root = next((root for root in self._folders if path.is_relative_to(root)), None)
        if root is None:
            folders = ", ".join(map(str, self._folders))
            raise MediaError(
                f"{name} is outside the folders of this server ({folders}).",
                remedy="Give a path within them, or have its user start it with another --root.",
            )
        if any(name_part.startswith(".") for name_part in path.relative_to(root).parts):
            raise MediaError(f"{name} is hidden.", remedy="Give a path without hidden parts.")
        if Ignored(root).has_below(str(path), is_folder=path.is_dir()):
            raise MediaError(f"{name} is left out by .anymodalignore.", remedy="Give another path.")
        return path
