"""Sound: any track that FFmpeg decodes, as mono float32 in [-1, 1]."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import CorruptMediaError, MediaLimitError
from encoder.media.container import decode_frames, open_container, sound_stream
from encoder.media.source import Source, name_of
from encoder.types import Waveform

SAMPLING_RATE = 44_100
MAX_LOAD_S = 3600.0
"""The longest sound that `load_sound` holds in memory (an hour is 635 MB)."""

# With 8 planes or more PyAV (18.1) reads beyond the end of FFmpeg's list of them and crashes.
_MAX_PLANES = 7
_RATES = range(1_000, 768_001)


def stream_sound(
    source: Source, sampling_rate: int = SAMPLING_RATE
) -> Iterator[NDArray[np.float32]]:
    """Decode the first sound track in chunks of half a second, float32 [n].

    Channels are averaged, then resampled. Samples beyond [-1, 1] are clipped.

    Raises:
        CorruptMediaError: no sound track, nothing in it, or samples that are not numbers.
    """
    with open_container(source) as container:
        stream = sound_stream(container)
        if stream is None:
            raise CorruptMediaError(
                f"{name_of(source)} has no sound track.", remedy="Name a file with sound."
            )
        n_samples = 0
        frames = decode_frames(source, container, stream)
        for rate, run in groupby(frames, key=lambda frame: int(frame.sample_rate)):
            # A damaged header that claims 1 Hz would turn a second into half a day.
            if rate not in _RATES:
                raise CorruptMediaError(
                    f"{name_of(source)} claims a sampling rate of {rate} Hz.",
                    remedy=f"Export it again, at {_RATES.start:,} to {_RATES.stop - 1:,} Hz.",
                )
            chunks = _gathered(map(_mono, run), rate // 2)
            for samples in _resampled(chunks, rate, sampling_rate):
                if not np.isfinite(samples).all():
                    raise CorruptMediaError(
                        f"{name_of(source)} holds samples that are not finite numbers (NaN or "
                        "infinity).",
                        remedy="Export it again, for instance as 16-bit WAV.",
                    )
                n_samples += len(samples)
                yield np.clip(samples, -1.0, 1.0)
        if not n_samples:  # resampling can leave nothing of less than 2 ms
            raise CorruptMediaError(
                f"{name_of(source)} holds no sound.", remedy="Name a file with sound."
            )


def load_sound(
    source: Source, sampling_rate: int = SAMPLING_RATE, max_duration_s: float = MAX_LOAD_S
) -> Waveform:
    """Decode the whole first sound track; see `stream_sound`.

    Raises a MediaLimitError if it is longer than ``max_duration_s``.
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
    return Waveform(np.concatenate(chunks), sampling_rate)


def flac_bytes(sound: Waveform) -> bytes:
    """A sound as a FLAC file of 24 bits; what is beyond [-1, 1] is cut."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, sound.samples, sound.sampling_rate, "PCM_24", format="FLAC")
    return file.getvalue()


def _mono(frame: Any) -> NDArray[np.float32]:
    """The mean of a frame's channels, whatever their number and format.

    FFmpeg's own downmix weights channels by a layout that files often lack, and stops where the
    layout changes within a stream.
    """
    if frame.format.is_planar and frame.layout.nb_channels > _MAX_PLANES:
        from av import AudioResampler

        packer = AudioResampler(format="flt", layout=frame.layout, rate=frame.sample_rate)
        frame = packer.resample(frame)[0]
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    if values.dtype.kind in "iu":
        info = np.iinfo(values.dtype)
        middle = (int(info.max) + int(info.min) + 1) / 2
        values = (values.astype(np.float32) - middle) / (info.max - middle + 1)
    return values.mean(axis=0, dtype=np.float32)  # type: ignore[no-any-return]


def _gathered(chunks: Iterable[NDArray[np.float32]], least: int) -> Iterator[NDArray[np.float32]]:
    """Join frames of some 20 ms into chunks that are worth a call."""
    waiting: list[NDArray[np.float32]] = []
    for chunk in chunks:
        waiting.append(chunk)
        if sum(map(len, waiting)) >= least:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _resampled(
    chunks: Iterable[NDArray[np.float32]], rate: int, wanted_rate: int
) -> Iterator[NDArray[np.float32]]:
    from av import AudioFrame, AudioResampler

    if rate == wanted_rate:
        yield from chunks
        return
    resampler = AudioResampler(format="fltp", layout="mono", rate=wanted_rate)
    for samples in chunks:
        frame = AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        yield from (block.to_ndarray()[0] for block in resampler.resample(frame))
    yield from (block.to_ndarray()[0] for block in resampler.resample(None))


def resample(sound: Waveform, sampling_rate: int) -> NDArray[np.float32]:
    """The samples at another rate (band-limited, by soxr)."""
    if sound.sampling_rate == sampling_rate:
        return sound.samples
    import soxr

    return np.asarray(
        soxr.resample(sound.samples, sound.sampling_rate, sampling_rate, "HQ"), np.float32
    )
