"""Films: kept frames and windows of the sound track, decoded in parallel."""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from encoder.errors import CorruptMediaError
from encoder.media.container import StreamFacts, has_moving_pictures, probe
from encoder.media.formats import (
    CONTAINER_TYPES,
    CONTAINERS,
    IMAGE_TYPES,
    is_sequence,
    marked_container,
    picture_brand,
)
from encoder.media.video import stream_frames
from encoder.types import AUDIO, IMAGE, VIDEO, Clip
from ingest.config import IngestConfig, check
from ingest.dedup import keep_frames
from ingest.kinds.contract import Cost, Kind, Place
from ingest.kinds.head import Head, Match
from ingest.kinds.sound import (
    check_container,
    container_metadata,
    joined_sound,
    sound_segments,
)
from ingest.types import Asset, Fact, Segment

logger = logging.getLogger(__name__)

_AHEAD = 4
"""The most frames and sound windows that wait: a few megabytes."""


class Film(Kind):
    """Films, and sequences of pictures."""

    name = "video"
    label = "Film"
    icon = "M6.5 4.8v14.4L19 12z"
    modality = VIDEO
    formats = tuple(container.name for container in CONTAINERS if container.media_type[0] == "v")
    media_types = frozenset(
        f"video/{name.partition('/')[2]}" for name in CONTAINER_TYPES | IMAGE_TYPES
    )
    suffixes = (
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpeg", ".mpg"),
        *(".wmv", ".heics", ".avifs", ".mts", ".m2ts", ".flv", ".3gp", ".3g2", ".mxf", ".dv"),
        *(".vob", ".rm", ".fli", ".flc", ".ogv", ".asf"),
    )
    cost: ClassVar[Cost] = "video"
    max_bytes = "max_media_bytes"
    shows = True

    def sniff(self, head: Head) -> Match | None:
        """Any container, and files of several pictures; `accepts` checks what is in it."""
        if not head.is_text and (brand := picture_brand(head.data)):
            media_type, may_move = brand
            return Match(_as_video(media_type), 0.91) if may_move else None
        media_type = "" if head.is_text else marked_container(head.data)
        return Match(_as_video(media_type), 0.901) if media_type else None

    def accepts(self, path: Path, media_type: str) -> bool:
        return has_moving_pictures(path) if is_sequence(media_type) else probe(path).has_video

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        facts = probe(path)
        check_container(str(path), facts, config)
        check(str(path), "max_pixels", facts.width * facts.height, config)
        size: dict[str, Fact] = {"width": facts.width, "height": facts.height}
        return {**container_metadata(facts, path), **size, **facts.camera.as_metadata()}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
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

    def preview(self, asset: Asset, path: Path, place: Place, config: IngestConfig) -> Segment:
        """The frame shown at a time; one of the last if the film has ended by then."""
        facts = probe(path)
        check(str(path), "max_pixels", facts.width * facts.height, config)
        from_s = max(0.0, min(place.at_s, (facts.duration_s or place.at_s) - 1.0))
        frames = stream_frames(path, 0, config.image_short_side, 1, config.max_pixels, from_s)
        for time_s, rgb in frames:
            return Segment(asset.asset_id, IMAGE, 0, rgb, start_s=time_s)
        raise CorruptMediaError(f"{path} has no picture there.", remedy="Ask for an earlier time.")

    def whole(self, segments: Sequence[Segment], max_frames: int = 16) -> Clip:
        """Some of the frames, and the sound track."""
        frames = [segment for segment in segments if segment.modality == IMAGE]
        sounds = [segment for segment in segments if segment.modality == AUDIO]
        picked = np.linspace(0, len(frames) - 1, min(max_frames, len(frames))).round().astype(int)
        pictures = np.stack([frames[n].content for n in picked])
        return Clip(pictures, joined_sound(sounds) if sounds else None)


def _as_video(media_type: str) -> str:
    return f"video/{media_type.partition('/')[2]}"


def _heard(asset: Asset, path: Path, config: IngestConfig, facts: StreamFacts) -> Iterator[Segment]:
    """The sound track; a film with an empty or damaged one is still found by its pictures."""
    try:
        yield from sound_segments(asset, path, config, facts.sound_start_s)
    except CorruptMediaError as error:
        logger.warning("sound track left out: %s", error)


def frame_segments(
    asset: Asset, path: Path, config: IngestConfig, facts: StreamFacts
) -> Iterator[Segment]:
    """The kept frames of a film; each represents the time until the next."""
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


T = TypeVar("T")


def ahead(values: Iterator[T], depth: int) -> Generator[T, None, None]:
    """The same values in the same order; up to ``depth`` are computed in advance.

    The thread starts with the first value asked for and ends when the generator is closed.
    An error of ``values`` is raised here.
    """
    end: Any = object()
    thread = ThreadPoolExecutor(1, thread_name_prefix="decode-ahead")
    try:
        pending = deque(thread.submit(next, values, end) for _ in range(depth))
        while (value := pending.popleft().result()) is not end:
            pending.append(thread.submit(next, values, end))
            yield value
    finally:
        thread.shutdown(cancel_futures=True)
