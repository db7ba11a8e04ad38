"""Video: frames at a steady pace, scaled down while they are decoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import CorruptMediaError
from encoder.media.container import decode_frames, open_container, probe, video_stream
from encoder.media.image import MAX_PIXELS, SHORT_SIDE, fit_short_side
from encoder.media.sound import load_sound
from encoder.media.source import Source, name_of
from encoder.types import Clip


def stream_frames(
    source: Source,
    every_s: float = 0.5,
    short_side: int = SHORT_SIDE,
    n_threads: int = 1,
    max_pixels: int = MAX_PIXELS,
    from_s: float = 0.0,
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Decode the first video stream; yield one frame per ``every_s`` seconds (0: all), upright.

    Args:
        short_side: scale down so that the shorter side is at most this.
        n_threads: how many threads decode; 0 lets FFmpeg choose.
        max_pixels: frames of more pixels count as damaged, even if they grow in mid-stream.
        from_s: begin here, without decoding much of what comes before.

    Yields:
        seconds since the start of the file, and the frame, uint8 RGB [height, width, 3].

    Raises:
        CorruptMediaError: no video stream, or nothing in it.
    """
    with open_container(source) as container:
        stream = video_stream(container)
        if stream is None:
            raise CorruptMediaError(
                f"{name_of(source)} has no pictures.", remedy="Name a file with a video stream."
            )
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = n_threads
        if every_s > 0:
            # Frames that no other needs are not decoded: a quarter of the time of H.264.
            stream.codec_context.skip_frame = "NONREF"
        # FFmpeg's decoders look at it before they allocate a frame.
        stream.codec_context.options = {"max_pixels": str(max_pixels)}
        start_s, due_s = (container.start_time or 0) / 1e6, from_s
        if from_s:
            container.seek(int((start_s + from_s) * 1e6))  # to the key frame before
        size: tuple[int, int] | None = None
        for frame in decode_frames(source, container, stream):
            time_s = max(0.0, (frame.time or 0.0) - start_s)
            if time_s >= due_s:
                due_s = _next_tick_s(time_s, every_s)
                # A stream may change its size; the frames that leave here do not.
                size = size or fit_short_side(frame.width, frame.height, short_side)
                yield time_s, _to_rgb(frame, *size)


def load_clip(source: Source, max_frames: int = 32) -> Clip:
    """A few frames, evenly spread over the video, and its whole sound track, if it has one.

    Raises what `stream_frames` and `load_sound` do.
    """
    facts = probe(source)
    pace_s = min(0.5, facts.duration_s / max_frames) if facts.duration_s else 0.5
    frames_kept: list[NDArray[np.uint8]] = []
    stride = 1
    # Headers may understate the length: thin out on the way, so that memory stays bounded.
    for index, (_, rgb) in enumerate(stream_frames(source, pace_s)):
        if index % stride == 0:
            frames_kept.append(rgb)
        if len(frames_kept) == 2 * max_frames:
            frames_kept, stride = frames_kept[::2], stride * 2
    spread = (
        np.linspace(0, len(frames_kept) - 1, min(max_frames, len(frames_kept))).round().astype(int)
    )
    sound = load_sound(source) if facts.has_sound else None
    return Clip(np.stack([frames_kept[i] for i in spread]), sound)


def _next_tick_s(time_s: float, every_s: float) -> float:
    """The next multiple of ``every_s``, so that frames keep the pace on average."""
    return (int(time_s / every_s + 1e-6) + 1) * every_s - 1e-6 if every_s else time_s


def _to_rgb(frame: Any, width: int, height: int) -> NDArray[np.uint8]:
    """Upright RGB; ``width`` and ``height`` are those before the turn."""
    small = frame.reformat(width=width, height=height, format="rgb24", interpolation="BICUBIC")
    rgb: NDArray[np.uint8] = small.to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb
