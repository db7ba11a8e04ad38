"""Which files to ingest, in which groups, and which folders were read to the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, get_args

from ingest.kinds import Cost
from ingest.kinds.registry import cost_of

if TYPE_CHECKING:
    from ingest.sources.folders import OnRefused

CLASSES: tuple[str, ...] = get_args(Cost)
"""Cost classes, the cheapest first; each kind of file names its own."""

_SHARE = {"text": 1, "image": 1, "audio": 8, "video": 64}
"""A shard holds this many times fewer files than a shard of texts."""

_FULL_BYTES = {"text": 2 * 2**20, "image": 256 * 2**20, "audio": 16 * 2**20, "video": 1}
"""A shard of this size is full however few files it holds: a book is more work than 96 notes, and
the rows of a shard stay in memory until they are stored."""


def files_of(
    paths: Sequence[str], on_refused: OnRefused, walked: WalkedFolders | None = None
) -> Iterable[str]:
    """All files under these paths, streamed; URLs, which lie under nothing, come first.

    Args:
        paths: files, folders and URLs.
        on_refused: takes each link that is refused.
        walked: notes folders that cannot be read.
    """
    from ingest import discover
    from ingest.sources.remote import is_url

    local = [path for path in paths if not is_url(path)]
    found = discover(local, on_refused, walked.unread) if walked else discover(local, on_refused)
    return chain(filter(is_url, paths), map(str, found))


def count_files(paths: Sequence[str]) -> int:
    """How many files `files_of` finds; none is opened."""
    return sum(1 for _ in files_of(paths, lambda _: None))


class WalkedFolders:
    """Notes which of the folders to ingest were read to the end.

    Args:
        paths: files, folders and URLs, as they are given to `files_of`.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        from ingest.sources.remote import is_url

        self._folders = [Path(path) for path in paths if not is_url(path) and _is_folder(path)]
        self._unread: set[Path] = set()

    def unread(self, folder: Path) -> None:
        """Note that a folder, or one in it, could not be read."""
        self._unread.add(folder)

    def complete(self) -> list[str]:
        """The folders of which everything was seen. Ask after the walk."""
        return [str(folder) for folder in self._folders if folder not in self._unread]


def _is_folder(path: str) -> bool:
    try:
        return Path(path).expanduser().is_dir()
    except OSError:
        return False


def cost_class(path: str) -> str:
    """The cost class by the file's suffix. A wrong one costs time and harms nothing.

    >>> [cost_class(name) for name in ("a.md", "b.JPG", "c.flac", "d.mkv", "no-suffix")]
    ['text', 'image', 'audio', 'video', 'text']
    """
    return cost_of(PurePath(path).suffix.lower())


def file_bytes(path: str) -> int:
    """The size of a file; 0 for anything else, and for what cannot be looked at."""
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return 0


def shards(
    paths: Iterable[str], shard_files: int, size_of: Callable[[str], int] = file_bytes
) -> Iterator[tuple[str, list[str]]]:
    """Group a stream of paths by cost class, holding one open group per class.

    Args:
        paths: files and URLs. The size of a URL counts as 0.
        shard_files: how many texts fill a shard.
        size_of: the bytes of a file.

    >>> list(shards(["a.txt", "b.mp4", "c.txt", "d.txt"], 2))
    [('video', ['b.mp4']), ('text', ['a.txt', 'c.txt']), ('text', ['d.txt'])]
    """
    groups: dict[str, list[str]] = {}
    n_bytes = dict.fromkeys(CLASSES, 0)
    for path in paths:
        cost = cost_class(path)
        group = groups.setdefault(cost, [])
        group.append(path)
        n_bytes[cost] += size_of(path)
        if len(group) >= max(1, shard_files // _SHARE[cost]) or n_bytes[cost] >= _FULL_BYTES[cost]:
            n_bytes[cost] = 0
            yield cost, groups.pop(cost)
    yield from groups.items()
