"""The whole way from paths to segments."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from encoder.errors import MediaError, UnsupportedMediaError
from encoder.types import IMAGE, VIDEO
from ingest import isolate
from ingest.config import IngestConfig
from ingest.decode import DECODERS
from ingest.decode.time_limit import Clock, timed
from ingest.decode.video import frame_at
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
    decoder = DECODERS.get(asset.modality)
    if decoder is None:
        raise UnsupportedMediaError(
            f"{asset.uri}: no decoder for the modality {asset.modality!r}.",
            remedy="Add one to ingest.decode.DECODERS.",
        )
    if config.isolate and asset.modality in isolate.MODALITIES:
        return isolate.segments(asset, config)
    clock = Clock(asset.uri, config, asset.duration_s)
    return timed(decoder.segments(asset, Path(asset.path or asset.uri), config), clock)


def picture(asset: Asset, at_s: float, config: IngestConfig) -> Segment:
    """A picture, or of a film the frame that is seen at a time.

    Raises:
        MediaError: it cannot be decoded, or shows nothing.
    """
    if asset.modality == IMAGE:
        return next(segments(asset, config))
    if asset.modality != VIDEO:
        raise UnsupportedMediaError(
            f"{asset.uri} is {asset.modality}, which shows nothing.",
            remedy="Ask for a picture of an image or a video.",
        )
    if config.isolate:
        return isolate.frame(asset, at_s, config)
    return frame_at(asset, Path(asset.path or asset.uri), at_s, config)


def ingest(
    source: PathLike | Iterable[PathLike],
    config: IngestConfig | None = None,
    on_failure: Callable[[Failure], None] | None = None,
) -> Iterator[Segment]:
    """The segments of files and folders, streamed; a file that cannot be decoded is set aside.

    Args:
        source: a path or several; folders are walked.
        config: window sizes and limits; the default reads ``ANYMODAL_INGEST__…``.
        on_failure: told of each file set aside; by default it is logged as a warning. Segments
            of that file which came before count for nothing.
    """
    config = config or IngestConfig()
    paths = [source] if isinstance(source, str | os.PathLike) else source
    tell = on_failure or _log
    for path in discover(paths, tell):
        try:
            yield from segments(identify(path, config), config)
        except MediaError as error:
            tell(failure(path, error))


def _log(failure: Failure) -> None:
    logger.warning("set aside %s: %s", failure.error, failure.reason)
