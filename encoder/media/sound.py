"""Sound: any track that FFmpeg decodes, as mono float32 in [-1, 1]."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from encoder.errors import CorruptMediaError, MediaLimitError
from encoder.media.container import decode_frames, open_container, sound_stream
from encoder.media.source import Source, name_of
from encoder.types import Waveform

SAMPLING_RATE = 44_100
MAX_LOAD_S = 3600.0
"""The longest sound that `load_sound` holds in memory (an hour is 635 MB)."""


def stream_sound(
    source: Source, sampling_rate: int = SAMPLING_RATE
) -> Iterator[NDArray[np.float32]]:
    """Decode the first sound track in chunks, with constant memory.

    Channels are averaged, then resampled. Samples beyond [-1, 1] are clipped.

    Yields:
        float32 [n], n as the file's frames come.

    Raises:
        CorruptMediaError: no sound track, nothing in it, or samples that are not numbers.
    """
    from av import AudioResampler

    with open_container(source) as container:
        stream = sound_stream(container)
        if stream is None:
            raise CorruptMediaError(
                f"{name_of(source)} has no sound track.", remedy="Name a file with sound."
            )
        resampler = AudioResampler(format="fltp", layout="mono", rate=sampling_rate)
        for frame in decode_frames(source, container, stream):
            for part in resampler.resample(frame):
                yield _checked(source, part.to_ndarray()[0])
        for part in resampler.resample(None):
            yield _checked(source, part.to_ndarray()[0])


def load_sound(
    source: Source, sampling_rate: int = SAMPLING_RATE, max_duration_s: float = MAX_LOAD_S
) -> Waveform:
    """Decode the whole first sound track; see `stream_sound`.

    Raises:
        MediaLimitError: it is longer than ``max_duration_s``.
    """
    chunks, n_samples = [], 0
    for chunk in stream_sound(source, sampling_rate):
        n_samples += len(chunk)
        if n_samples > max_duration_s * sampling_rate:
            raise MediaLimitError(
                f"{name_of(source)} is longer than max_duration_s, {max_duration_s:g}.",
                remedy="Cut it, raise max_duration_s, or use stream_sound.",
            )
        chunks.append(chunk)
    if not n_samples:
        raise CorruptMediaError(
            f"{name_of(source)} holds no sound.", remedy="Name a file with sound."
        )
    return Waveform(np.concatenate(chunks), sampling_rate)


def _checked(source: Source, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(samples).all():
        raise CorruptMediaError(
            f"{name_of(source)} holds samples that are not finite numbers (NaN or infinity).",
            remedy="Export it again, for instance as 16-bit WAV.",
        )
    return np.clip(samples, -1.0, 1.0)
