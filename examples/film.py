"""A short film from stills and sound, written with PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import VideoFrame
    from PIL.Image import Image

FRAME_RATE = 10
WIDTH, HEIGHT = 480, 360
_ZOOM = 0.12


@dataclass(frozen=True, eq=False)
class Scene:
    """A still, what is heard with it (mono float32), and how long it lasts."""

    still: Image
    sound: NDArray[np.float32]
    duration_s: float


def write_film(path: Path, scenes: Sequence[Scene], sampling_rate: int) -> None:
    """Write the scenes one after the other; the camera moves slowly into each still."""
    import av

    with av.open(str(path), "w") as film:
        video = film.add_stream("h264", rate=FRAME_RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = film.add_stream("aac", rate=sampling_rate, layout="mono")
        for number, frame in enumerate(_frames(scenes)):
            frame.pts, frame.time_base = number, Fraction(1, FRAME_RATE)
            film.mux(video.encode(frame))
        film.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(_sound(scenes, sampling_rate)[None], "fltp", "mono")
        sound.sample_rate, sound.pts = sampling_rate, 0
        film.mux(audio.encode(sound))
        film.mux(audio.encode(None))


def _frames(scenes: Sequence[Scene]) -> Iterator[VideoFrame]:
    import av

    for scene in scenes:
        n_frames = round(scene.duration_s * FRAME_RATE)
        for number in range(n_frames):
            yield av.VideoFrame.from_image(_closer(scene.still, _ZOOM * number / n_frames))


def _closer(still: Image, amount: float) -> Image:
    """The middle of a still at the film's size; ``amount`` of its width is cropped."""
    scale = min(still.width / WIDTH, still.height / HEIGHT) * (1 - amount)
    left, top = (still.width - WIDTH * scale) / 2, (still.height - HEIGHT * scale) / 2
    box = (left, top, left + WIDTH * scale, top + HEIGHT * scale)
    return still.convert("RGB").resize((WIDTH, HEIGHT), box=box)


def _sound(scenes: Sequence[Scene], sampling_rate: int) -> NDArray[np.float32]:
    parts = [_fit(scene.sound, round(scene.duration_s * sampling_rate)) for scene in scenes]
    return np.concatenate(parts)


def _fit(sound: NDArray[np.float32], n_samples: int) -> NDArray[np.float32]:
    fitted = np.zeros(n_samples, np.float32)
    fitted[: len(sound)] = sound[:n_samples]
    return fitted
