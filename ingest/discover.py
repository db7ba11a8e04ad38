"""Find files: given paths as they are, folders walked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def discover(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """The files to ingest, streamed, in the order of names.

    A path that is named is given back even if it is missing, hidden or a link, so that
    `ingest.identify` tells what is wrong with it. Within a folder, hidden entries, links and
    what is no regular file (pipes, devices, sockets) are left out: a link inside the folder
    leads to a file that is found anyway, one to the outside was not asked for.
    """
    for path in paths:
        root = Path(path).expanduser()
        if root.is_dir():
            yield from _walk(root)
        else:
            yield root


def _walk(root: Path) -> Iterator[Path]:
    # A stack, not recursion: folders may be nested deeper than Python's calls.
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            yield folder  # `identify` reports it as a folder that cannot be read
            continue
        shown = [entry for entry in entries if not entry.name.startswith(".")]
        yield from (Path(e.path) for e in shown if e.is_file(follow_symlinks=False))
        folders = [Path(e.path) for e in shown if e.is_dir(follow_symlinks=False)]
        waiting.extend(reversed(folders))
