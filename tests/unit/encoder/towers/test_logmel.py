"""The log-mel spectrogram of the sound network."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from encoder.towers.audio import logmel
from encoder.types import Waveform


def tone(frequency_hz: float, duration_s: float = 1.0, rate: int = 44_100) -> Waveform:
    t = np.arange(int(rate * duration_s)) / rate
    return Waveform(np.sin(2 * np.pi * frequency_hz * t).astype(np.float32), rate)


def test_the_spectrum_is_that_of_librosa() -> None:
    samples = np.random.default_rng(0).normal(size=30_000).astype(np.float32)
    ours = logmel.power_spectrum(samples)
    window = np.hanning(2048)
    theirs = librosa.stft(samples, n_fft=2048, hop_length=1024, window=window, pad_mode="constant")
    np.testing.assert_allclose(ours, np.abs(theirs.T) ** 2, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("frequency_hz", [200, 1000, 8000])
def test_a_tone_is_loudest_in_its_band(frequency_hz: int) -> None:
    mel = 2595 * np.log10(1 + np.array([frequency_hz, 22_050]) / 700)
    expected = mel[0] / mel[1] * 97 - 1
    loudest = int(logmel.mel_power(tone(frequency_hz)).mean(axis=0).argmax())
    assert abs(loudest - expected) <= 1


@pytest.mark.parametrize("n_samples", [1, 100, 2048])
def test_the_shortest_sound_has_a_frame(n_samples: int) -> None:
    power = logmel.mel_power(Waveform(np.ones(n_samples, np.float32), 44_100))
    assert power.shape[1] == 96
    assert len(power) >= 1
    assert np.isfinite(power).all()
