"""Films: kept frames and the windows of the sound track, decoded side by side."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from encoder.errors import CorruptMediaError
from encoder.media.container import StreamFacts, probe
from encoder.media.video import stream_frames
from encoder.types import IMAGE
from ingest.config import IngestConfig
from ingest.decode.audio import check_container, container_metadata, sound_segments
from ingest.dedup import keep_frames
from ingest.isolate.read_ahead import ahead
from ingest.limits import check
from ingest.types import Asset, Fact, Segment

logger = logging.getLogger(__name__)

_AHEAD = 4
"""How many frames and sound windows may wait: a few megabytes."""


def describe(path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG001
    """Title, duration_s, width and height."""
    facts = probe(path)
    check_container(str(path), facts, config)
    check(str(path), "max_pixels", facts.width * facts.height, config)
    size: dict[str, Fact] = {"width": facts.width, "height": facts.height}
    return container_metadata(facts, path) | size


def segments(asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
    """Frames (modality image) and sound windows (audio), in order of time."""
    facts = probe(path)
    tracks = [frame_segments(asset, path, config, facts)]
    if facts.has_sound:
        tracks.append(_heard(asset, path, config, facts))
    running = [ahead(track, _AHEAD) for track in tracks]
    try:
        yield from heapq.merge(*running, key=lambda segment: segment.start_s or 0.0)
    finally:
        for track in running:
            track.close()


def _heard(asset: Asset, path: Path, config: IngestConfig, facts: StreamFacts) -> Iterator[Segment]:
    """The sound track; a film whose track is empty or damaged is still found by its pictures."""
    try:
        yield from sound_segments(asset, path, config, facts.sound_start_s)
    except CorruptMediaError as error:
        logger.warning("sound track left out: %s", error)


def frame_at(asset: Asset, path: Path, at_s: float, config: IngestConfig) -> Segment:
    """The frame that is seen at a time; the last one or so where the film has ended by then."""
    facts = probe(path)
    check(str(path), "max_pixels", facts.width * facts.height, config)
    from_s = max(0.0, min(at_s, (facts.duration_s or at_s) - 1.0))
    frames = stream_frames(path, 0, config.image_short_side, 1, config.max_pixels, from_s)
    for time_s, rgb in frames:
        return Segment(asset.asset_id, IMAGE, 0, rgb, start_s=time_s)
    raise CorruptMediaError(f"{path} has no picture there.", remedy="Ask for an earlier time.")


def frame_segments(
    asset: Asset, path: Path, config: IngestConfig, facts: StreamFacts
) -> Iterator[Segment]:
    """The kept frames of a film; each stands for the time until the next."""
    frames = stream_frames(
        path,
        config.frame_every_s,
        config.image_short_side,
        config.video_threads,
        config.max_pixels,
    )
    for index, frame in enumerate(keep_frames(frames, facts.duration_s or 0.0, config)):
        check(str(path), "max_duration_s", frame.start_s, config)
        check(str(path), "max_frames", index + 1, config)
        yield Segment(
            asset.asset_id, IMAGE, index, frame.rgb, start_s=frame.start_s, end_s=frame.end_s
        )
