"""What is heard, by YAMNet's 521 classes of AudioSet (Gemmeke et al. 2017; Plakal and Ellis 2019).

Its input is the log-mel spectrogram of `patches`: magnitudes of 25-ms Hann frames every 10 ms at
16 kHz, in 64 triangular bands from 125 to 7,500 Hz that are equally spaced on the HTK mel scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from encoder.media.sound import resample
from encoder.runtime.base import Session
from encoder.system.resting import Resting
from encoder.types import Waveform

SAMPLING_RATE = 16_000
PATCH_FRAMES = 96
SPEECH = 0
"""One of the classes, by its column."""

_FRAME, _HOP, _FFT = 400, 160, 512
_N_BANDS = 64
_BAND_HZ = 125.0, 7_500.0
_OFFSET = 1e-3
_HOP_FRAMES = 48
_PATCHES_AT_ONCE = 8


class SoundClasses:
    """YAMNet. ``open_session``, called on first use, opens what `encoder.onnx.yamnet` wrote."""

    def __init__(self, open_session: Callable[[], Session]) -> None:
        self._session = Resting(open_session)

    def hear(self, sound: Waveform) -> NDArray[np.float32]:
        """How sure each class is, from 0 to 1, in patches of .96 s, every .48 s.

        Returns:
            float32 [n_patches, 521]; the last patch ends with the sound.
        """
        heard = patches(log_mel(sound))
        starts = range(0, len(heard), _PATCHES_AT_ONCE)
        patch_batches = (heard[start : start + _PATCHES_AT_ONCE] for start in starts)
        return np.concatenate(
            [self._session.get().run({"patches": patch_batch})[0] for patch_batch in patch_batches]
        )


def log_mel(sound: Waveform) -> NDArray[np.float32]:
    """The log-mel spectrogram, float32 [n_frames, 64]; a short sound is padded to a patch."""
    from scipy.fft import rfft

    samples = resample(sound, SAMPLING_RATE)
    least = (PATCH_FRAMES - 1) * _HOP + _FRAME
    padded = np.pad(samples, (0, max(0, least - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP]
    spectrum = rfft(frames * _window(), _FFT, axis=1)
    return np.asarray(np.log(np.abs(spectrum) @ _filters() + np.float32(_OFFSET)), np.float32)


def patches(mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut a spectrogram [n_frames, 64] into patches, float32 [n_patches, 96, 64]."""
    last = len(mel) - PATCH_FRAMES
    starts = (*range(0, last, _HOP_FRAMES), last)
    return np.stack([mel[start : start + PATCH_FRAMES] for start in starts])


@lru_cache(maxsize=1)
def _window() -> NDArray[np.float32]:
    return np.hanning(_FRAME + 1)[:-1].astype(np.float32)


@lru_cache(maxsize=1)
def _filters() -> NDArray[np.float32]:
    """Weights of each bin in each band, float32 [257, 64]."""
    mel = 1127 * np.log1p(np.linspace(0, SAMPLING_RATE / 2, _FFT // 2 + 1) / 700)
    lowest, highest = (1127 * math.log1p(hz / 700) for hz in _BAND_HZ)
    edges = np.linspace(lowest, highest, _N_BANDS + 2)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (mel[:, None] - low) / (middle - low)
    falling = (high - mel[:, None]) / (high - middle)
    return np.asarray(np.maximum(0, np.minimum(rising, falling)), np.float32)
