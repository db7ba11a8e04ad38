"""Objects that hold assets: read for a client piece by piece, or copied for a decoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoder.errors import MediaError
from encoder.system.disk import temporary_folder
from ingest.config import IngestConfig
from ingest.errors import SourceError
from ingest.sources.objects import (
    VERSIONS,
    ObjectFacts,
    ObjectServer,
    Patience,
    fetch,
    is_object,
    version_of,
)

_PIECE_BYTES = 2**20
_MOST_COPIED_BYTES = 256 * 2**20
_MOST_S = 20.0
_PATIENCE_S = 2.0


@dataclass(frozen=True)
class StoredObject:
    """An object that is unchanged since it was stored."""

    facts: ObjectFacts
    server: ObjectServer

    @property
    def size_bytes(self) -> int:
        """Its size."""
        return self.facts.size_bytes

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from ``start`` to before ``end``; each piece is read when it is requested.

        Raises:
            SourceError: while iterating: it is gone, is shorter now or cannot be read.
        """
        for at in range(start, end, _PIECE_BYTES):
            upto = min(at + _PIECE_BYTES, end)
            piece = self.server.read(self.facts.url, at, upto)
            if len(piece) != upto - at:
                raise _changed(self.facts.url)
            yield piece


def opened(location: str, metadata: Mapping[str, Any], config: IngestConfig) -> StoredObject | None:
    """The object at a location; None if there is none, or if it is not the one that was stored."""
    if not is_object(location):
        return None
    server = ObjectServer(location, config, Patience(_PATIENCE_S))
    try:
        facts = server.look(location)
    except MediaError:
        return None
    stored_version = version_of(metadata.get(VERSIONS), location)
    return StoredObject(facts, server) if facts and facts.version == stored_version else None


@contextmanager
def copied(location: str, metadata: Mapping[str, Any], config: IngestConfig) -> Iterator[Path]:
    """A copy of the object at a location, for the length of the block.

    Raises:
        SourceError: it is gone, or not the one that was stored.
        MediaLimitError: it has more than 256 MiB, or takes longer than 20 s.
        DiskError: there is no room for it.
    """
    limits = {
        "max_url_bytes": min(config.max_url_bytes, _MOST_COPIED_BYTES),
        "max_url_s": min(config.max_url_s, _MOST_S),
    }
    if (stored := opened(location, metadata, config)) is None:
        raise _changed(location)
    with temporary_folder("anymodal-object-") as folder:
        limited = config.model_copy(update=limits)
        facts, file = fetch(stored.facts, stored.server, folder, limited)
        if facts != stored.facts:
            raise _changed(location)
        yield file


def _changed(location: str) -> SourceError:
    return SourceError(f"{location} has changed.", remedy="Ingest it again.")
