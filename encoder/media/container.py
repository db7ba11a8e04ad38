"""Containers of sound and video: opened safely, and what their headers say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from encoder.errors import CorruptMediaError
from encoder.media.formats import DEMUXERS
from encoder.media.metadata.camera import NOT_WRITTEN, CameraFacts, film_facts
from encoder.media.source import Source, decoding, name_of, opened

_MAX_BAD_PACKETS = 200
# FFmpeg looks for other formats within plain samples, by default in the first 5 MB: 12 ms for a
# sound of five seconds. 16 KB, which take 1 ms, hold four frames of DTS.
_WAV_PROBE_BYTES = 16_384
_TITLE_CHARS = 200


@dataclass(frozen=True)
class StreamFacts:
    """What a container's header says. Zero or None: absent or unknown.

    ``sound_start_s`` is when the sound track starts, relative to the start of the file.
    A cover picture of a song does not count as video. ``n_streams`` counts all kinds.
    """

    duration_s: float | None
    has_video: bool
    has_sound: bool
    width: int = 0
    height: int = 0
    sound_start_s: float = 0.0
    title: str = ""
    n_streams: int = 1
    camera: CameraFacts = NOT_WRITTEN


def probe(source: Source) -> StreamFacts:
    """Read the header only; raises a CorruptMediaError if it is of no supported container."""
    with open_container(source) as container:
        video, sound = video_stream(container), sound_stream(container)
        if video is None and sound is None:
            raise CorruptMediaError(
                f"{name_of(source)} holds neither pictures nor sound.",
                remedy="Check that the recording was finished; fetch or export it again.",
            )
        return StreamFacts(
            duration_s=_duration_s(container, video or sound),
            has_video=video is not None,
            has_sound=sound is not None,
            width=video.codec_context.width if video else 0,
            height=video.codec_context.height if video else 0,
            sound_start_s=_start_s(container, sound),
            title=" ".join(container.metadata.get("title", "").split())[:_TITLE_CHARS],
            n_streams=len(container.streams),
            camera=film_facts(container.metadata),
        )


def has_moving_pictures(source: Source) -> bool:
    """Whether a file that may be a still picture has a video track; False if it is damaged."""
    try:
        with open_container(source) as container:
            return video_stream(container) is not None
    except CorruptMediaError:
        return False


@contextmanager
def open_container(source: Source) -> Iterator[Any]:
    """An ``av`` input container that can reach nothing but the source's own bytes."""
    import av

    with opened(source) as file, decoding(source, "sound or video"):
        # A file object, not a path: a name such as "concat:a|b" must not be read as a URL.
        options = {"format_whitelist": DEMUXERS, "protocol_whitelist": ""}
        head = file.read(12)
        file.seek(0)
        if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
            options["probesize"] = str(_WAV_PROBE_BYTES)
        with av.open(file, options=options, metadata_errors="replace") as container:
            yield container


def video_stream(container: Any) -> Any | None:
    """The first stream of moving pictures, or None."""
    from av.stream import Disposition

    def is_film(stream: Any) -> bool:
        is_cover = stream.disposition & Disposition.attached_pic
        # or a tile of one: FFmpeg gives those of a HEIF or AVIF file as streams too
        is_picture = stream.frames == 1 and stream.duration is None
        return bool(stream.codec_context) and not is_cover and not is_picture

    return next(filter(is_film, container.streams.video), None)


def sound_stream(container: Any) -> Any | None:
    """The first sound track, or None."""
    return next((s for s in container.streams.audio if s.codec_context), None)


def decode_frames(source: Source, container: Any, stream: Any) -> Iterator[Any]:
    """Decode one stream; damaged packets are left out, as players do.

    Raises a CorruptMediaError if nothing can be decoded, or too many packets are damaged.
    """
    from av.error import FFmpegError

    n_frames = n_bad = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except FFmpegError as error:
            n_bad += 1
            if n_bad > _MAX_BAD_PACKETS + n_frames:
                raise CorruptMediaError(
                    f"{name_of(source)} is damaged: {n_bad} packets cannot be decoded ({error}).",
                    remedy="Fetch or export it again.",
                ) from error
            continue
        n_frames += len(frames)
        yield from frames
    if not n_frames:
        raise CorruptMediaError(
            f"{name_of(source)} holds an empty {stream.type} stream.",
            remedy="Check that the recording was finished; fetch or export it again.",
        )


def _duration_s(container: Any, stream: Any) -> float | None:
    if container.duration:
        return float(container.duration) / 1e6
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return None


def _start_s(container: Any, stream: Any | None) -> float:
    if stream is None or stream.start_time is None or not stream.time_base:
        return 0.0
    first_s = (container.start_time or 0) / 1e6
    return max(0.0, float(stream.start_time * stream.time_base) - first_s)
