"""Sort paths that something happened to: what to read, what is gone, what is still written."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingest.errors import IgnoreFileError
from ingest.sources.ignored import NAME, Ignored


@dataclass
class Changes:
    """What to do about some paths."""

    paths: list[str] = field(default_factory=list)
    """Files and folders to ingest."""
    gone: dict[str, list[str]] = field(default_factory=dict)
    """Files and folders that are not there, by the watched folder around them."""
    later: set[str] = field(default_factory=set)
    """Files that are still being written."""

    def __bool__(self) -> bool:
        return bool(self.paths or self.gone)


def sort_out(paths: Iterable[str], roots: Sequence[Path], quiet_s: float) -> Changes:
    """Look at each path as it is now, whatever the event said.

    Hidden and ignored entries are left out, as in a walk. So are links: what they lead to within
    the folder has its own events.

    Args:
        paths: absolute.
        roots: the watched folders, links resolved.
        quiet_s: a file that was changed less than this many seconds ago waits.
    """
    changes = Changes()
    rules = {root: Ignored(root) for root in roots}
    for path in sorted(set(paths)):
        root = next((root for root in roots if Path(path).is_relative_to(root)), None)
        if root is not None and path != str(root):
            _sort(path, root, rules[root], quiet_s, changes)
    changes.paths = _outermost(changes.paths)
    return changes


def _sort(path: str, root: Path, rules: Ignored, quiet_s: float, changes: Changes) -> None:
    folder, name = os.path.split(path)
    inner = Path(folder).relative_to(root).parts
    if any(part.startswith(".") for part in inner):
        return
    if name == NAME:  # different files are ignored now; a walk sees which
        changes.paths.append(folder)
        return
    if name.startswith("."):
        return
    try:
        facts = os.lstat(path)
    except OSError:
        if _is_unicode(path):  # nothing else is stored
            changes.gone.setdefault(str(root), []).append(path)
        return
    is_folder = stat.S_ISDIR(facts.st_mode)
    if not (is_folder or stat.S_ISREG(facts.st_mode)) or _is_ignored(rules, path, is_folder):
        return
    if not is_folder and 0 <= time.time() - facts.st_mtime < quiet_s:
        changes.later.add(path)
    else:
        changes.paths.append(path)


def _is_ignored(rules: Ignored, path: str, is_folder: bool) -> bool:
    """True also if the patterns cannot be read, which the walk reports."""
    try:
        return rules.has_below(path, is_folder=is_folder)
    except IgnoreFileError:
        return True


def _outermost(paths: Sequence[str]) -> list[str]:
    """The paths that are not in a folder among them, sorted."""
    kept: list[str] = []
    for path in sorted(paths, key=lambda path: f"{path}/"):
        if not kept or not f"{path}/".startswith(f"{kept[-1]}/"):
            kept.append(path)
    return kept


def _is_unicode(path: str) -> bool:
    try:
        return bool(path.encode())
    except UnicodeEncodeError:
        return False
