"""Watch folders: follow events, and walk where events do not show everything."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event

from encoder.errors import AnymodalError
from workers.watching.changes import Changes, sort_out

_TICK_S = 0.5
_LONGEST_S = 60.0
"""After this long, a batch is taken even if events keep coming."""


class WatchError(AnymodalError):
    """The kernel does not watch any more folders for this user."""


Events = Generator[Iterable[tuple[object, str]], None, None]


def watch_folders(
    roots: Sequence[Path], quiet_s: float, every_s: float, stop: Event
) -> Iterator[Changes]:
    """What to ingest and what to forget, until the event is set.

    It begins with all folders, which finds what changed before. It does the same every ``every_s``
    seconds, since the kernel drops events when its queue is full and network disks send none, and
    when a folder is replaced, as by a disk that is mounted. In between it follows events.

    Args:
        roots: folders, links resolved. A missing one is watched once it is there.
        quiet_s: how long nothing must have happened before a batch is taken.
        every_s: how often to look at everything.
        stop: ends it.

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
    for found in events:
        if {root: mark for root in roots if (mark := _mark(root))} != there:
            return
        if time.monotonic() > until:
            return
        pending |= _paths(found)
        if not pending:
            continue
        changes = sort_out(pending, list(there), quiet_s)
        pending = changes.later
        if changes:
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


def _paths(found: Iterable[tuple[object, str]]) -> set[str]:
    return {path for _, path in found}


def _mark(folder: Path) -> tuple[int, int] | None:
    """What distinguishes a folder from another at the same place; None if it is missing."""
    try:
        facts = folder.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
