"""Files in archives and mails: each is an asset of its own, at ``a.zip!/b.txt``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain, groupby
from pathlib import Path, PurePath
from tempfile import mkdtemp
from typing import Any

from encoder.errors import MediaError, UnsupportedMediaError
from encoder.system.disk import writing
from ingest import isolate
from ingest.config import IngestConfig
from ingest.isolate.wire import error_of
from ingest.kinds.archive import ARCHIVE
from ingest.kinds.registry import is_chosen, kind_of, left_out
from ingest.kinds.unpacking import ONLY
from ingest.location import inside
from ingest.sources.identity import identify_copy
from ingest.types import Asset, Segment


def identify_members(
    archive: Asset,
    folder: Path,
    config: IngestConfig,
    on_failure: Callable[[str, MediaError], None],
    wanted: str = "",
) -> Iterator[Asset]:
    """The files in an archive, unpacked into ``folder`` in a decoder process.

    Args:
        archive: as identified.
        folder: takes the files. Their names there are not those in the archive.
        config: limits.
        on_failure: called with the URI of each file that cannot be unpacked or identified.
        wanted: the URI of the only file to unpack; all if empty.

    Raises:
        MediaError: the archive is damaged or over a limit.
        DiskError: ``folder`` cannot be written.
    """
    with writing(folder):
        scratch = Path(mkdtemp(dir=folder))
    only = {ONLY: wanted.removeprefix(inside(archive.uri, ""))} if wanted else {}
    archive = replace(archive, modality=ARCHIVE, metadata={**archive.metadata, **only})
    pieces = ((json.loads(piece.place), piece) for piece in _pieces(archive, config))
    for number, group in groupby(pieces, key=lambda piece: piece[0]["number"]):
        facts, first = next(group)
        uri = inside(archive.uri, facts["member"])
        if wanted and uri != wanted:
            continue
        if os.path.isfile(uri):  # noqa: PTH113 (a URI)
            on_failure(uri, _also_on_disk(archive.uri))
            continue
        file = scratch / f"{number}{_suffix(facts['member'])}"
        following = chain([(facts, first)], group)  # noqa: B031 (one group, read once)
        if problem := _write(file, following):
            file.unlink()  # it may have been read in part
            on_failure(uri, problem)
            continue
        try:
            asset = identify_copy(file, uri, config)
        except MediaError as error:
            on_failure(uri, error)
        else:
            if is_chosen(asset.media_type, config.kinds):
                yield asset
            else:  # a mail in an archive
                on_failure(uri, left_out(uri, config.kinds))


def _pieces(archive: Asset, config: IngestConfig) -> Iterator[Segment]:
    if config.isolate:
        return isolate.segments(archive, config)
    kind = kind_of(archive.media_type)
    return kind.members(archive, Path(archive.path or archive.uri), config)


def _also_on_disk(archive: str) -> MediaError:
    return UnsupportedMediaError(
        f"{archive} holds a file that would be called like one of the folder {archive}!.",
        remedy="Rename one of them, and ingest both again.",
    )


def _suffix(name: str) -> str:
    return re.sub(r"[^\w.]", "", PurePath(name).suffix)[:20]


def _write(file: Path, pieces: Iterator[tuple[dict[str, Any], Segment]]) -> MediaError | None:
    """Write a file; the reason if it cannot be unpacked to its end."""
    with writing(file), file.open("wb") as out:
        for facts, piece in pieces:
            if "problem" in facts:
                return error_of(facts)
            out.write(piece.content.data)
    with suppress(OSError, OverflowError, ValueError):
        os.utime(file, (facts["modified"], facts["modified"]))
    return None
