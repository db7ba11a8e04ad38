"""What ``.anymodalignore`` files leave out: the syntax of ``.gitignore``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ingest.errors import IgnoreFileError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

NAME = ".anymodalignore"

LinesOf: TypeAlias = Callable[[Path], list[str] | None]


class Ignored:
    """Decides what in a folder is left out. Keeps what it has read, so make one for each walk.

    The pattern files in the folder, in those within it and in those around it count. The nearest
    one with a line that matches wins, and in it the last such line. Everything in a folder that is
    left out is left out too. The folder itself never is, since it was named; pattern files around
    it that would leave it out do not count.

    Args:
        root: the folder, by a path that can be read: folders around the current one may be closed.
        lines_of: the lines of a pattern file, None if there is none; used in place of `_lines` for
            a folder that is not on a disk.
    """

    def __init__(self, root: Path, lines_of: LinesOf | None = None) -> None:
        self._named = root
        self._root = root if lines_of else root.resolve()
        self._lines_of = lines_of or _lines
        self._specs: dict[str, tuple[tuple[str, GitIgnoreSpec], ...]] = {}
        self._folders: dict[str, bool] = {}

    def has(self, path: str, *, is_folder: bool) -> bool:
        """Whether an entry is left out, given that its folder is not.

        Args:
            path: absolute, links resolved.
            is_folder: patterns that end in a slash match folders only.

        Raises:
            IgnoreFileError: a pattern file cannot be read.
        """
        for folder, spec in self._specs_of(os.path.dirname(path)):  # noqa: PTH120
            name = os.path.relpath(path, folder) + ("/" if is_folder else "")
            if (decided := spec.check_file(name).include) is not None:
                return decided
        return False

    def has_below(self, path: str, *, is_folder: bool = False) -> bool:
        """Whether a path is left out, by itself or with a folder between it and the root.

        Raises:
            IgnoreFileError: a pattern file cannot be read.
        """
        return self._has_folder(os.path.dirname(path)) or self.has(  # noqa: PTH120
            path, is_folder=is_folder
        )

    def _has_folder(self, folder: str) -> bool:
        if len(folder) <= len(str(self._root)):
            return False
        if folder not in self._folders:
            self._folders[folder] = self.has_below(folder, is_folder=True)
        return self._folders[folder]

    def _specs_of(self, folder: str) -> tuple[tuple[str, GitIgnoreSpec], ...]:
        """The patterns that apply in a folder, the nearest first."""
        if folder not in self._specs:
            parent = os.path.dirname(folder)  # noqa: PTH120
            around = () if parent == folder else self._specs_of(parent)
            is_around = len(folder) < len(str(self._root))
            inner = self._named / os.path.relpath(folder, self._root)
            patterns = self._read_around(folder) if is_around else self._read(inner / NAME)
            self._specs[folder] = ((folder, patterns), *around) if patterns else around
        return self._specs[folder]

    def _read_around(self, folder: str) -> GitIgnoreSpec | None:
        """The patterns of a folder around the root, which may belong to another user."""
        try:
            spec = self._read(Path(folder, NAME))
        except IgnoreFileError as error:
            if isinstance(error.__cause__, PermissionError):
                return None
            raise
        root = f"{self._root.relative_to(folder)}/"
        return None if spec is None or spec.check_file(root).include else spec

    def _read(self, file: Path) -> GitIgnoreSpec | None:
        remedy = "Fix or remove it; until then, its folder is not read."
        try:
            lines = self._lines_of(file)
        except (OSError, UnicodeError) as error:
            raise IgnoreFileError(f"{file} cannot be read: {error}.", remedy=remedy) from error
        if lines is None:
            return None
        # Imported late: most folders have no such file.
        from pathspec import GitIgnoreSpec
        from pathspec.patterns.gitignore import GitIgnorePatternError

        try:
            return GitIgnoreSpec.from_lines(lines)
        except GitIgnorePatternError as error:
            raise IgnoreFileError(f"{file}: {error}.", remedy=remedy) from error


def _lines(file: Path) -> list[str] | None:
    """The lines of a file on a disk.

    Raises:
        OSError: it cannot be read.
        UnicodeError: it is not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
