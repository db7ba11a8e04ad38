"""From paths to segments."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from encoder.errors import AnymodalError, CorruptMediaError, MediaError, UnsupportedMediaError
from encoder.system.disk import temporary_folder
from encoder.types import Item
from ingest import isolate
from ingest.config import IngestConfig
from ingest.errors import LeftOutError
from ingest.kinds import reading
from ingest.kinds.archive import ARCHIVE
from ingest.kinds.contract import Place
from ingest.kinds.registry import is_chosen, kind_of
from ingest.sources.archives import identify_members
from ingest.sources.folders import discover, failure
from ingest.sources.identity import identify
from ingest.types import Asset, Failure, Segment

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


def segments(asset: Asset, config: IngestConfig) -> Iterator[Segment]:
    """Decode an asset as a stream of segments, with bounded memory.

    Raises:
        MediaError: while iterating; then the segments so far are not the whole asset.
    """
    decode = isolate.segments if config.isolate else reading.decode
    decoded = decode(asset, config)
    return _as_named(asset, decoded) if asset.path else decoded


def _as_named(asset: Asset, decoded: Iterator[Segment]) -> Iterator[Segment]:
    """Let errors name a fetched file, or one in an archive, as the user knows it."""
    try:
        yield from decoded
    except MediaError as error:
        error.problem = error.problem.replace(asset.path, asset.uri)
        error.remedy = error.remedy.replace(asset.path, asset.uri)
        error.args = (error.problem, error.remedy)
        raise


def whole(asset: Asset, config: IngestConfig, max_frames: int = 16) -> Item:
    """A file as one item to search with, of its kind's modality.

    Args:
        asset: the file.
        config: limits.
        max_frames: the most frames kept of a film.

    Raises:
        UnsupportedMediaError: it is an archive.
        MediaError: it cannot be decoded.
    """
    if asset.modality == ARCHIVE:
        raise UnsupportedMediaError(
            f"{asset.uri} is an archive.", remedy="Search with one of the files in it."
        )
    kind = kind_of(asset.media_type)
    parts = list(segments(asset, config))
    try:
        return Item(kind.modality, kind.whole(parts, max_frames))
    except AnymodalError:
        raise
    except Exception as error:  # a kind of another package may raise anything
        raise CorruptMediaError(
            f"{asset.uri} cannot be searched with ({type(error).__name__}: {error}).",
            remedy="Check that it opens elsewhere.",
        ) from error


def picture(asset: Asset, place: Place, config: IngestConfig) -> Segment:
    """What a place in a file looks like: a picture, or the frame shown at a time.

    Raises:
        MediaError: it cannot be decoded, or shows nothing.
    """
    preview = isolate.picture if config.isolate else reading.preview
    return _checked(asset, preview(asset, place, config))


def _checked(asset: Asset, preview: Segment) -> Segment:
    """What a kind returned as a picture, if it is one."""
    shape: tuple[int, ...] = getattr(preview.content, "shape", ())
    dtype = getattr(preview.content, "dtype", None)
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise CorruptMediaError(
            f"{asset.uri}: its kind returned {dtype} {shape}, not a picture.",
            remedy="Its preview must be uint8 [height, width, 3].",
        )
    return preview


def ingest(
    source: PathLike | Iterable[PathLike],
    config: IngestConfig | None = None,
    on_failure: Callable[[Failure], None] | None = None,
) -> Iterator[Segment]:
    """The segments of files and folders, streamed; a file that cannot be decoded is set aside.

    Args:
        source: a path or several; folders are walked.
        config: window sizes and limits; the default reads ``ANYMODAL_INGEST__…``.
        on_failure: called for each file set aside; the default logs a warning. Ignore
            segments of that file that came before.
    """
    config = config or IngestConfig()
    paths = [source] if isinstance(source, str | os.PathLike) else source
    tell = on_failure or _log

    def refuse(uri: PathLike, error: MediaError) -> None:
        if not isinstance(error, LeftOutError):
            tell(failure(uri, error))

    for path in discover(paths, tell):
        try:
            asset = identify(path, config)
            if asset.modality != ARCHIVE and is_chosen(asset.media_type, config.kinds):
                yield from segments(asset, config)
            if kind_of(asset.media_type).holds_files:
                yield from _unpacked(asset, config, refuse)
        except MediaError as error:
            refuse(path, error)


def _unpacked(
    archive: Asset, config: IngestConfig, refuse: Callable[[str, MediaError], None]
) -> Iterator[Segment]:
    with temporary_folder("anymodal-") as folder:
        for asset in identify_members(archive, folder, config, refuse):
            try:
                yield from segments(asset, config)
            except MediaError as error:
                refuse(asset.uri, error)


def _log(failure: Failure) -> None:
    logger.warning("set aside %s: %s", failure.error, failure.reason)
