"""Which files to ingest, in which groups, and which folders were read to the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeVar, get_args

from ingest import discover
from ingest.config import IngestConfig
from ingest.kinds import Cost
from ingest.kinds.registry import cost_of
from ingest.location import is_path
from ingest.sources.objects import FoundObject, is_object, list_objects, normal
from ingest.sources.urls import is_url

if TYPE_CHECKING:
    from ingest.sources.folders import OnRefused

T = TypeVar("T")

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
    """All files under these paths, streamed; URLs come first, then those of objects."""
    local = filter(is_path, paths)
    objects = _objects(filter(is_object, paths), on_refused, walked)
    discovered = discover(local, on_refused, walked.unread if walked else lambda _: None)
    return chain(filter(is_url, paths), objects, map(str, discovered))


def _objects(
    urls: Iterable[str], on_refused: OnRefused, walked: WalkedFolders | None
) -> Iterator[str]:
    for url in urls:
        if walked is None:
            raise ValueError(f"{url} cannot be listed without a WalkedFolders")
        yield from list_objects(normal(url), walked.config, on_refused, walked.whole)


def count_files(paths: Sequence[str]) -> int | None:
    """How many files `files_of` finds, opening none. None for object stores, which take long."""
    if any(map(is_object, paths)):
        return None
    return sum(1 for _ in files_of(paths, lambda _: None))


class WalkedFolders:
    """Notes which of the folders to ingest were read to the end."""

    def __init__(self, paths: Sequence[str], config: IngestConfig) -> None:
        self.config = config
        self._folders = [Path(path) for path in paths if is_path(path) and _is_folder(path)]
        self._unread: set[Path] = set()
        self._whole: list[str] = []

    def unread(self, folder: Path) -> None:
        self._unread.add(folder)

    def whole(self, folder: str) -> None:
        self._whole.append(folder)

    def complete(self) -> list[str]:
        """The folders of which everything was seen. Call it after the walk."""
        local = [str(folder) for folder in self._folders if folder not in self._unread]
        return local + self._whole


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
    """The size of a file or a listed object; 0 for anything else, or if it is not known."""
    if isinstance(path, FoundObject):
        return path.size_bytes
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return 0


def shards(paths: Iterable[str], shard_files: int) -> Iterator[tuple[str, list[str]]]:
    """Group a stream of paths by cost class, holding one open group per class.

    >>> list(shards(["a.txt", "b.mp4", "c.txt", "d.txt"], 2))
    [('video', ['b.mp4']), ('text', ['a.txt', 'c.txt']), ('text', ['d.txt'])]
    """
    groups: dict[str, list[str]] = {}
    n_bytes = dict.fromkeys(CLASSES, 0)
    for path in paths:
        cost = cost_class(path)
        group = groups.setdefault(cost, [])
        group.append(str(path))  # only the URL of a listed object
        n_bytes[cost] += file_bytes(path)
        if len(group) >= max(1, shard_files // _SHARE[cost]) or n_bytes[cost] >= _FULL_BYTES[cost]:
            n_bytes[cost] = 0
            yield cost, groups.pop(cost)
    yield from groups.items()
