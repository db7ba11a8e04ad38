"""Short-time Fourier transforms and mel bands by librosa's conventions, equal to its last digits.

A frame is centred on a multiple of the hop and has a Hann window; a sound is silent beyond its
ends. Time comes first here: spectra are [n_frames, n_bins].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Spectra: TypeAlias = NDArray[np.complex64]

_CHUNK_VALUES = 1 << 21
"""Frames are transformed in chunks of this many samples: all at once would take gigabytes."""

_MOMENTUM = 0.99


def stft(samples: NDArray[np.float32], n_fft: int, hop: int) -> Spectra:
    """Spectra [1 + n_samples // hop, n_fft // 2 + 1]."""
    padded = np.pad(samples, n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    window = _window(n_fft)
    spectra = np.empty((len(frames), n_fft // 2 + 1), np.complex64)
    for chunk in _chunks(len(frames), n_fft):
        spectra[chunk] = np.fft.rfft(frames[chunk] * window, axis=1)
    return spectra


def istft(spectra: Spectra, n_fft: int, hop: int, n_samples: int) -> NDArray[np.float32]:
    """The sound whose spectra are nearest to these (Griffin and Lim 1984), [n_samples]."""
    n_frames, window = len(spectra), _window(n_fft)
    whole = max(n_fft + hop * (n_frames - 1), n_samples + n_fft // 2)
    total, weight = np.zeros(whole, np.float32), np.zeros(whole, np.float32)
    for chunk in _chunks(n_frames, n_fft):
        frames = np.fft.irfft(spectra[chunk], n_fft, axis=1) * window
        _overlap_add(total[chunk.start * hop :], frames, hop)
        _overlap_add(weight[chunk.start * hop :], np.broadcast_to(window**2, frames.shape), hop)
    heard = weight > np.finfo(np.float32).tiny
    total[heard] /= weight[heard]
    return total[n_fft // 2 : n_fft // 2 + n_samples]


def griffin_lim(
    magnitudes: NDArray[np.float32], n_fft: int, hop: int, n_steps: int
) -> NDArray[np.float32]:
    """A sound whose spectra have approximately these magnitudes; the same every time.

    Fast Griffin-Lim (Perraudin, Balazs and Søndergaard 2013) from random phases.

    Args:
        magnitudes: [n_frames, n_fft // 2 + 1], at least ``n_fft / hop`` frames.
        n_fft: samples of a frame.
        hop: samples from frame to frame.
        n_steps: 32 is usual.

    Returns:
        ``hop * (n_frames - 1)`` samples, one more where frames have an odd length.
    """
    n_frames, n_bins = magnitudes.shape
    turns = np.random.RandomState(0).random(size=(n_bins, n_frames)).T
    spectra = np.exp(2j * np.pi * turns).astype(np.complex64) * magnitudes
    n_samples, last_spectrum = hop * (n_frames - 1) + n_fft % 2, None
    for _ in range(n_steps):
        rebuilt = stft(istft(spectra, n_fft, hop, n_samples), n_fft, hop)
        spectra[:] = rebuilt
        if last_spectrum is not None:
            last_spectrum *= _MOMENTUM / (1 + _MOMENTUM)
            spectra -= last_spectrum
        spectra /= np.abs(spectra) + np.finfo(np.float32).tiny
        spectra *= magnitudes
        last_spectrum = rebuilt
    return istft(spectra, n_fft, hop, n_samples)


def mel_filters(
    sampling_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float
) -> NDArray[np.float64]:
    """Weights of each bin in each band, [n_mels, n_fft // 2 + 1], on Slaney's scale (1998).

    A band is a triangle over its neighbours' middles, and its area over the frequencies is 1.
    """
    ends = _to_mel(np.array([fmin, fmax]))
    edges = _from_mel(np.linspace(ends[0], ends[1], n_mels + 2))[:, None]
    bins = np.fft.rfftfreq(n_fft, 1 / sampling_rate)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low), np.float64)


# Slaney's scale is linear up to 1 kHz, 15 mel, and then 27 mel for each factor of 6.4.
_LINEAR_HZ, _LINEAR_MEL = 1000.0, 15.0
_OCTAVE = np.log(6.4) / 27


def _to_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _LINEAR_MEL + np.log(np.maximum(hz, _LINEAR_HZ) / _LINEAR_HZ) / _OCTAVE
    return np.where(hz < _LINEAR_HZ, hz * _LINEAR_MEL / _LINEAR_HZ, above)


def _from_mel(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _LINEAR_HZ * np.exp(_OCTAVE * (np.maximum(mel, _LINEAR_MEL) - _LINEAR_MEL))
    return np.where(mel < _LINEAR_MEL, mel * _LINEAR_HZ / _LINEAR_MEL, above)


def _window(n_fft: int) -> NDArray[np.float64]:
    """Hann's window, periodic."""
    return np.hanning(n_fft + 1)[:-1]


def _chunks(n_frames: int, n_fft: int) -> Iterator[slice]:
    step = max(1, _CHUNK_VALUES // n_fft)
    return (slice(at, min(at + step, n_frames)) for at in range(0, n_frames, step))


def _overlap_add(total: NDArray[np.float32], frames: NDArray[Any], hop: int) -> None:
    """Add frames [n, n_fft] to ``total`` in place, each a hop after the one before it."""
    n, n_fft = frames.shape
    # the earliest frame comes first everywhere, since the order of a sum shows in its last digit
    for at in reversed(range(0, n_fft, hop)):
        block = frames[:, at : at + hop]
        rows = np.lib.stride_tricks.sliding_window_view(total[at:], block.shape[1], writeable=True)
        rows[: hop * n : hop] += block
