"""Pure: the log-mel spectrogram that the aiSFX network takes.

Power of 2048-sample Hann frames every 1024 samples at 44.1 kHz; 96 triangular bands, equally
spaced and straight-sided on the HTK mel scale (O'Shaughnessy 1987), each of weight sum 1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from encoder.media.sound import resample
from encoder.types import Waveform

SAMPLING_RATE = 44_100
FRAME = 2048
HOP = 1024
N_BANDS = 96
N_BINS = FRAME // 2 + 1
# log10(1e4 power + 1) is divided by its largest value in the network's training sounds
_LARGEST = 9.457798957824707


def mel_power(content: Waveform) -> NDArray[np.float32]:
    """Power in mel bands, float32 [n_frames, 96]."""
    return power_spectrum(resample(content, SAMPLING_RATE)) @ mel_filters()


def scale(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mel power to the network's input: a logarithm from 0 (silence) to about 1."""
    return np.asarray(np.log10(1e4 * power + 1.0) / _LARGEST, np.float32)


def power_spectrum(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Power of each frame, float32 [n_frames, 1025]; frames are centred, ends are padded."""
    padded = np.pad(samples, FRAME // 2)
    padded = np.pad(padded, (0, max(0, FRAME - len(padded))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    window = np.hanning(FRAME).astype(np.float32)
    from scipy.fft import rfft

    spectrum = rfft(frames * window, axis=1)
    return np.asarray(spectrum.real**2 + spectrum.imag**2, np.float32)


@lru_cache(maxsize=1)
def mel_filters() -> NDArray[np.float32]:
    """Weights of each bin in each band, float32 [1025, 96]; every column sums to 1."""
    mel = 2595 * np.log10(1 + np.linspace(0, SAMPLING_RATE / 2, N_BINS) / 700)
    edges = np.linspace(0, mel[-1], N_BANDS + 2)
    step = edges[1]
    height = 1 - np.abs(mel[:, None] - edges[None, 1:-1]) / step
    triangles = np.maximum(height, 0)
    return np.asarray(triangles / triangles.sum(axis=0), np.float32)
