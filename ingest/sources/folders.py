"""Find files: named paths as they are, folders recursively."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from encoder.errors import MediaError
from ingest.errors import IgnoreFileError, RefusedLinkError
from ingest.sources.ignored import Ignored
from ingest.types import Failure

logger = logging.getLogger(__name__)

OnRefused = Callable[[Failure], None]
OnUnread = Callable[[Path], None]


def discover(
    paths: Iterable[str | os.PathLike[str]],
    on_refused: OnRefused | None = None,
    on_unread: OnUnread = lambda _: None,
) -> Iterator[Path]:
    """Stream the files to ingest, ordered by name.

    A named path is yielded even if it is missing, hidden or a link, so that
    `ingest.sources.identity` reports what is wrong with it; so are pipes, devices and sockets in a
    folder. Hidden entries are skipped, and links to entries of the same folder, which the walk
    finds anyway. All other links are refused: nobody asked for what lies outside the folder, and
    links to nothing, in a circle or to a hidden entry should not go unnoticed. What a file
    ``.anymodalignore`` names is left out silently; if such a file cannot be read, it is
    refused, and its folder is not walked.

    Args:
        paths: files and folders.
        on_refused: called for each refused link or ignore file; the default logs a warning.
        on_unread: called for each of ``paths`` that holds a folder that cannot be read.
    """
    for path in paths:
        root = Path(path).expanduser()
        if _is_folder(root):
            yield from _walk(root, on_refused or _log, partial(on_unread, Path(path)))
        else:
            yield root


def _is_folder(path: Path) -> bool:
    """False also if there is no permission to look; `identify` reports that."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _walk(root: Path, on_refused: OnRefused, on_unread: Callable[[], None]) -> Iterator[Path]:
    # A stack, not recursion: folders may be nested deeper than Python's calls.
    waiting = [root]
    inside = root.resolve()
    ignored = Ignored(root)
    while waiting:
        folder = waiting.pop()
        try:
            entries = _entries(folder, inside / folder.relative_to(root), ignored)
        except OSError:
            on_unread()
            yield folder  # `identify` reports it as a folder that cannot be read
            continue
        except IgnoreFileError as error:
            on_unread()
            on_refused(failure(folder, error))
            continue
        folders = []
        for entry in entries:
            if entry.is_symlink():
                _check_link(Path(entry.path), inside, on_refused)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            else:
                yield Path(entry.path)
        waiting.extend(reversed(folders))


def _entries(folder: Path, resolved: Path, ignored: Ignored) -> list[os.DirEntry[str]]:
    """What is neither hidden nor left out, ordered by name."""

    def is_wanted(entry: os.DirEntry[str]) -> bool:
        if entry.name.startswith("."):
            return False
        path = os.path.join(resolved, entry.name)  # noqa: PTH118 (ten times as fast)
        return not ignored.has(path, is_folder=entry.is_dir(follow_symlinks=False))

    with os.scandir(folder) as entries:
        return sorted(filter(is_wanted, entries), key=lambda entry: entry.name)


def _check_link(link: Path, inside: Path, on_refused: OnRefused) -> None:
    """Report a link whose target the walk does not reach by itself."""
    problem = _problem(link, inside)
    if problem:
        remedy = "Fix or remove it, or give the file or folder that it should lead to."
        on_refused(
            failure(link, RefusedLinkError(f"{link} is a link that {problem}.", remedy=remedy))
        )


def _problem(link: Path, inside: Path) -> str:
    try:
        written = link.readlink()
    except OSError:  # removed or replaced meanwhile
        return ""
    try:
        target = link.resolve(strict=True)
    except FileNotFoundError:
        return f"leads nowhere: {written} does not exist"
    except (OSError, RuntimeError) as error:  # RuntimeError: in a circle, before Python 3.13
        if isinstance(error, RuntimeError) or error.errno == errno.ELOOP:
            return f"leads in a circle through {written}"
        return f"cannot be followed to {written}: {error.strerror}"
    if not target.is_relative_to(inside):
        return f"leads out of the folder, to {target}"
    if any(name.startswith(".") for name in target.relative_to(inside).parts):
        return f"leads to a hidden entry, {target}, which is left out"
    return ""


def failure(path: str | os.PathLike[str], error: MediaError) -> Failure:
    """Log a file that was set aside; names that are not UTF-8 are escaped."""
    uri = os.fsencode(path).decode(errors="backslashreplace")
    reason = str(error).encode(errors="backslashreplace").decode()
    return Failure(uri, type(error).__name__, reason)


def _log(refused: Failure) -> None:
    logger.warning("set aside %s: %s", refused.error, refused.reason)
