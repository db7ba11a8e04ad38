"""Watch folders: from events of the file system to what has to be ingested or forgotten."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from encoder.errors import AnymodalError
from ingest.errors import IgnoreFileError
from ingest.sources.ignored import NAME, Ignored
from workers.pipeline.pruning import is_unicode


@dataclass
class Changes:
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
    if any(folder_name.startswith(".") for folder_name in inner):
        return
    if name == NAME:  # different files are ignored now; a walk sees which
        changes.paths.append(folder)
        return
    if name.startswith("."):
        return
    try:
        facts = os.lstat(path)
    except OSError:
        if is_unicode(path):  # nothing else is stored
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
    outermost: list[str] = []
    for path in sorted(paths, key=lambda path: f"{path}/"):
        if not outermost or not f"{path}/".startswith(f"{outermost[-1]}/"):
            outermost.append(path)
    return outermost


_TICK_S = 0.5
_LONGEST_S = 60.0
"""After this long, a batch is taken even if events keep coming."""


class WatchError(AnymodalError):
    """The kernel does not watch any more folders for this user."""


Events = Generator[Iterable[tuple[object, str]], None, None]


def watch_folders(
    roots: Sequence[Path], quiet_s: float, every_s: float, stop: Event
) -> Iterator[Changes]:
    """What to ingest and what to forget, until the event is set; empty now and then.

    It begins with all folders, which finds what changed before. It does the same every ``every_s``
    seconds, since the kernel drops events when its queue is full and network disks send none, and
    when a folder is replaced, as by a disk that is mounted. In between it follows events.

    Args:
        roots: folders, links resolved. A missing one is watched once it is there.
        quiet_s: how long nothing must have happened before a batch is taken.

    Raises:
        WatchError: the kernel does not watch any more folders.
    """
    while not stop.is_set():
        there = {root: mark for root in roots if (mark := _mark(root))}
        if not there:
            stop.wait(_TICK_S)
            continue
        with closing(_events(list(there), quiet_s, stop)) as events:
            pending = _paths(next(events, set()))  # from here on nothing is missed
            yield Changes([str(root) for root in there])
            yield from _until_replaced(roots, there, events, pending, quiet_s, every_s)


def _until_replaced(
    roots: Sequence[Path],
    there: dict[Path, tuple[int, int]],
    events: Events,
    pending: set[str],
    quiet_s: float,
    every_s: float,
) -> Iterator[Changes]:
    until = time.monotonic() + every_s
    for events_seen in events:
        if {root: mark for root in roots if (mark := _mark(root))} != there:
            return
        if time.monotonic() > until:
            return
        pending |= _paths(events_seen)
        changes = sort_out(pending, list(there), quiet_s)
        pending = changes.later
        yield changes


def _events(folders: Sequence[Path], quiet_s: float, stop: Event) -> Events:
    """Batches of events; an empty one now and then."""
    from watchfiles import watch

    try:
        yield from watch(
            *folders,
            watch_filter=None,
            debounce=round(_LONGEST_S * 1000),
            step=max(1, round(quiet_s * 1000)),
            rust_timeout=round(_TICK_S * 1000),
            yield_on_timeout=True,
            stop_event=stop,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )
    except FileNotFoundError:  # gone this very moment
        return
    except OSError as error:
        raise WatchError(
            f"The folders {', '.join(map(str, folders))} cannot be watched: {error}.",
            remedy="Raise the limit (sysctl fs.inotify.max_user_watches=1048576) or watch fewer "
            "folders.",
        ) from error


def _paths(events_seen: Iterable[tuple[object, str]]) -> set[str]:
    return {path for _, path in events_seen}


def _mark(folder: Path) -> tuple[int, int] | None:
    """What distinguishes a folder from another at the same place; None if it is missing."""
    try:
        facts = folder.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
