"""The objects in a folder, listed as files are found on a disk, and which of them are gone."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from blake3 import blake3

from encoder.errors import MediaError
from ingest.config import IngestConfig
from ingest.errors import (
    ClosedSourceError,
    GoneObjectError,
    IgnoreFileError,
    ListingError,
    SourceError,
)
from ingest.location import Location
from ingest.sources.folders import OnRefused, failure
from ingest.sources.ignored import NAME, Ignored
from ingest.sources.objects.address import FoundObject, ObjectFacts, bucket_path, folder, scheme_of
from ingest.sources.objects.server import ObjectServer

_MOST_PATTERN_BYTES = 2**20

Entry = tuple[str, ObjectFacts | None]


def list_objects(
    url: str,
    config: IngestConfig,
    on_refused: OnRefused,
    on_whole: Callable[[str], None] = lambda _: None,
) -> Iterator[FoundObject]:
    """Stream what lies at a URL and below: an object itself, or all in a folder of them.

    Folder by folder, objects first, in the order in which their server lists them, which is
    always the same. Hidden names and what ``.anymodalignore`` names are left out, as
    `ingest.discover` does. One page of a listing is held in memory, and the folders still to list.

    Args:
        url: as `normal` writes it.
        config: ``storage_options``.
        on_refused: takes each folder that cannot be listed.
        on_whole: takes the folder once all of it was listed.

    Raises:
        MissingExtraError: the library that reads such URLs is not installed.
    """
    server = ObjectServer(url, config)
    try:
        facts = None if url.endswith("/") else server.look(url)
    except MediaError:
        yield FoundObject(url, 0)  # the error is reported when it is read
        return
    if facts:
        yield FoundObject(url, facts.size_bytes)
        return
    is_whole = True

    def refuse(where: str, error: MediaError) -> None:
        nonlocal is_whole
        is_whole = False
        on_refused(failure(where, error))

    yield from _walk(folder(url), server, refuse)
    if is_whole:
        on_whole(folder(url))


def _walk(
    root: str, server: ObjectServer, refuse: Callable[[str, MediaError], None]
) -> Iterator[FoundObject]:
    ignored = ObjectsIgnored(root, server)
    waiting = [root]
    while waiting:
        folder_url = waiting.pop()
        folders: list[str] = []
        try:
            for name, facts in _wanted(folder_url, server, ignored):
                if facts is None:
                    folders.append(folder(folder_url + name))
                else:
                    yield FoundObject(folder_url + name, facts.size_bytes)
        except IgnoreFileError as error:
            refuse(folder_url, error)
        except MediaError as error:
            refuse(folder_url, ListingError(error.problem, remedy=error.remedy))
        waiting.extend(reversed(folders))


def _wanted(folder_url: str, server: ObjectServer, ignored: ObjectsIgnored) -> Iterator[Entry]:
    for number, page in enumerate(server.entries(folder_url)):
        if number == 0:
            ignored.begin(folder_url, [name for name, _ in page])
        for name, facts in page:
            if not name.startswith(".") and not ignored.has(
                folder_url + name, is_folder=facts is None
            ):
                yield name, facts


class ObjectsIgnored:
    """Decides what in a folder of objects is left out, by the pattern files there.

    Args:
        root: the folder.
        server: reads the pattern files.
    """

    def __init__(self, root: str, server: ObjectServer) -> None:
        self._server = server
        self._before = f"{scheme_of(root)}://"
        self._without: str = ""
        self._ignored = Ignored(Path(bucket_path(root)), self._lines)

    def begin(self, folder_url: str, names: Sequence[str]) -> None:
        """Note the first names in a folder, in order: most folders have no pattern file."""
        has_none = NAME not in names and max(names, default="") > NAME
        self._without = folder_url if has_none else ""

    def has(self, url: str, *, is_folder: bool) -> bool:
        """Whether an entry is left out, given that its folder is not.

        Raises:
            IgnoreFileError: a pattern file cannot be read.
        """
        return self._ignored.has(bucket_path(url).rstrip("/"), is_folder=is_folder)

    def has_below(self, url: str) -> bool:
        """Whether an object is left out, by itself or with a folder between it and the root.

        Raises:
            IgnoreFileError: a pattern file cannot be read.
        """
        return self._ignored.has_below(bucket_path(url))

    def _lines(self, file: Path) -> list[str] | None:
        folder_url = self._before + str(file.parent)[1:] + "/"
        if file.parent == Path("/") or folder_url == self._without:
            return None
        try:
            data = self._server.read(folder_url + NAME, 0, _MOST_PATTERN_BYTES)
        except GoneObjectError:
            return None
        except ClosedSourceError as error:
            raise PermissionError(str(error)) from error
        except SourceError as error:
            raise OSError(str(error)) from error
        return data.decode().splitlines()


class ListedFolder:
    """A folder of objects as listed a moment ago; takes eight bytes of memory for each object.

    Args:
        folder: ends in a slash.
        config: ``storage_options``.
        on_refused: takes each folder within that cannot be listed.

    Raises:
        SourceError: it is refused, or cannot be read.
    """

    def __init__(self, folder: str, config: IngestConfig, on_refused: OnRefused) -> None:
        whole: list[str] = []
        listed = list_objects(folder, config, on_refused, whole.append)
        self._hashes = array("Q", sorted(map(_hash, listed)))
        self._server = ObjectServer(folder, config)
        self._ignored = ObjectsIgnored(folder, self._server)
        self.below = folder
        self.is_whole = bool(whole)

    def dead(self, locations: Iterable[str], is_kept: Callable[[str], bool]) -> set[str]:
        """The places in the folder at which there is surely no object, or an ignored one.

        A place that was not listed is checked: it may be newer than the listing.
        """
        return {
            uri
            for uri in locations
            if uri.startswith(self.below)
            and not is_kept(uri)
            and all(self._is_dead(location.file) for location in Location.readings(uri))
        }

    def holds(self, uri: str) -> bool:
        """Whether there is an object in the folder at a location, ignored or not."""
        return uri.startswith(self.below) and any(
            self._was_listed(location.file) or not self._is_gone(location.file)
            for location in Location.readings(uri)
        )

    def _is_dead(self, url: str) -> bool:
        return not self._was_listed(url) and (self._is_gone(url) or self._is_ignored(url))

    def _was_listed(self, url: str) -> bool:
        url_hash = _hash(url)
        at = bisect_left(self._hashes, url_hash)
        return at < len(self._hashes) and self._hashes[at] == url_hash

    def _is_gone(self, url: str) -> bool:
        try:
            return self._server.look(url) is None
        except GoneObjectError:
            return True
        except MediaError:
            return False

    def _is_ignored(self, url: str) -> bool:
        try:
            return self._ignored.has_below(url)
        except IgnoreFileError:  # reported by the listing
            return False


def _hash(url: str) -> int:
    return int.from_bytes(blake3(url.encode()).digest(length=8), "big")
