"""Copy objects to files, for decoders, which have no network."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic

from encoder.errors import MediaError, MediaLimitError
from encoder.system.disk import writing
from ingest.config import IngestConfig
from ingest.errors import SourceError
from ingest.sources.identity import identify_copy
from ingest.sources.objects.address import VERSIONS, ObjectFacts
from ingest.sources.objects.server import ObjectServer, Patience
from ingest.types import Asset

AT_ONCE = 8
"""How many objects are looked at or fetched at the same time."""

_CHUNK_BYTES = 4 * 2**20
_CHANGES = 3


def look_at_all(
    urls: Sequence[str], config: IngestConfig, patience: Patience
) -> Iterator[tuple[str, ObjectFacts | MediaError]]:
    """The current facts of each object, or why they are unknown. A folder is not an object.

    Raises:
        MissingExtraError: the library that reads such URLs is not installed.
    """

    def look(url: str) -> ObjectFacts | MediaError:
        try:
            facts = ObjectServer(url, config, patience).look(url)
        except MediaError as error:
            return error
        return facts or SourceError(
            f"{url} is now a folder.", remedy="Run the ingest of the folder around it again."
        )

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="look") as pool:
        yield from zip(urls, pool.map(look, urls), strict=True)


def fetch_all(
    object_facts: Sequence[ObjectFacts], folder: Path, config: IngestConfig, patience: Patience
) -> Iterator[tuple[ObjectFacts, Asset | MediaError]]:
    """Fetch objects into a folder, several at once, and identify each, or say why that failed.

    Raises:
        DiskError: ``folder`` cannot be written.
    """

    def fetched(facts: ObjectFacts) -> tuple[ObjectFacts, Path] | MediaError:
        try:
            server = ObjectServer(facts.url, config, patience)
            return fetch(facts, server, folder, config)
        except MediaError as error:
            return error

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
        for facts, copy in zip(object_facts, pool.map(fetched, object_facts), strict=True):
            yield facts, copy if isinstance(copy, MediaError) else _identified(*copy, config)


def fetch(
    facts: ObjectFacts, server: ObjectServer, folder: Path, config: IngestConfig
) -> tuple[ObjectFacts, Path]:
    """Copy an object into a new folder of ``folder``; also return its facts at that time.

    It is copied piece by piece, so that a broken connection costs one piece. An object that changes
    meanwhile is read again.

    Raises:
        SourceError: it is gone, refused or cannot be read, or it changes again and again.
        MediaLimitError: more than ``max_url_bytes`` or ``max_url_s``.
        DiskError: ``folder`` cannot be written.
    """
    deadline = monotonic() + config.max_url_s
    file = _new_file(facts.url, folder)
    for _ in range(_CHANGES):
        if facts.size_bytes > config.max_url_bytes:
            raise MediaLimitError(
                f"{facts.url} has {facts.size_bytes:,} bytes; max_url_bytes is "
                f"{config.max_url_bytes:,} bytes.",
                remedy="Raise ANYMODAL_INGEST__MAX_URL_BYTES.",
            )
        is_whole = _copied(facts, server, file, deadline)
        in_one_piece = facts.size_bytes <= _CHUNK_BYTES
        if is_whole and in_one_piece:
            return facts, file
        fresh_facts = server.look(facts.url)
        if is_whole and fresh_facts == facts:
            return facts, file
        facts = fresh_facts or facts
    raise SourceError(
        f"{facts.url} changed while it was read.",
        remedy="Run the ingest again when it is completely written.",
    )


def _copied(facts: ObjectFacts, server: ObjectServer, file: Path, deadline: float) -> bool:
    """Write the object to a file; False if its size has changed."""
    with writing(file), file.open("wb") as out:
        at = 0
        while at < facts.size_bytes:
            end = min(at + _CHUNK_BYTES, facts.size_bytes)
            is_last = end == facts.size_bytes
            # One byte more shows an object that has grown.
            piece = server.read(facts.url, at, end + is_last, deadline)
            if len(piece) != end - at:
                return False
            out.write(piece)
            at = end
    if facts.modified_s:
        with suppress(OSError, OverflowError, ValueError):
            os.utime(file, (facts.modified_s, facts.modified_s))
    return True


def _new_file(url: str, folder: Path) -> Path:
    """A file named after the end of the URL, since the kind may depend on the suffix."""
    with writing(folder):
        scratch = Path(mkdtemp(dir=folder))
    name = url.rpartition("/")[2]
    return scratch / (re.sub(r"[^\w.-]", "_", name)[-60:].lstrip(".") or "object")


def _identified(facts: ObjectFacts, file: Path, config: IngestConfig) -> Asset | MediaError:
    try:
        asset = identify_copy(file, facts.url, config)
    except MediaError as error:
        return error
    return replace(asset, metadata={**asset.metadata, VERSIONS: [facts.version]})
