"""Sound for models that take samples: at their rate, in windows, one embedding in the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError
from encoder.space import l2_normalize
from encoder.towers.base import Prepared
from encoder.types import Embeddings, Spectrogram, Waveform

# Shorter sound gives some feature extractors not a single frame.
_MIN_SOUND_S = 0.1


def sound_windows(
    name: str, content: Waveform | Spectrogram, rate: int, window_s: float
) -> list[NDArray[np.float32]]:
    """The samples at ``rate`` Hz in equal windows of at most ``window_s`` seconds.

    Args:
        name: of the model, for the message.
        content: a waveform.
        rate: of the model, in Hz.
        window_s: the longest window.

    Raises:
        InputError: a spectrogram came; these models take samples.
    """
    if isinstance(content, Spectrogram):
        expected = (
            f"a waveform: {name} takes samples; for an array from librosa, "
            'pass audio_kind="spectrogram"'
        )
        raise InputError("audio", got="a spectrogram", wanted=expected)
    samples = _resampled(content, rate)
    return np.array_split(samples, math.ceil(len(samples) / (window_s * rate)))


def mean_of_windows(rows: Embeddings, batch: Sequence[Prepared]) -> Embeddings:
    """One unit row for each sound, from one row for each window of all of them."""
    ends = np.cumsum([len(prepared) for prepared in batch])
    return l2_normalize(np.stack([windows.mean(axis=0) for windows in np.split(rows, ends[:-1])]))


def objects(values: Sequence[Any]) -> NDArray[np.object_]:
    """An array of any values: object [len(values)]."""
    array = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):  # `array[:] = values` would unfold equal shapes
        array[index] = value
    return array


def _resampled(sound: Waveform, rate: int) -> NDArray[np.float32]:
    missing = math.ceil(_MIN_SOUND_S * sound.sampling_rate) - len(sound.samples)
    samples = np.pad(sound.samples, (0, max(missing, 0)))
    if sound.sampling_rate == rate:
        return samples
    import soxr

    n_samples = math.ceil(len(samples) * rate / sound.sampling_rate)
    resampled = soxr.resample(samples, sound.sampling_rate, rate, "HQ")[:n_samples]
    return np.pad(resampled, (0, n_samples - len(resampled)))
