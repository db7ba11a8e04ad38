"""Which objects are gone from a folder."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable

from blake3 import blake3

from encoder.errors import MediaError
from ingest.config import IngestConfig
from ingest.errors import GoneObjectError, IgnoreFileError
from ingest.location import Location
from ingest.sources.folders import OnRefused
from ingest.sources.objects.listing import ObjectsIgnored, list_objects
from ingest.sources.objects.server import ObjectServer


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
