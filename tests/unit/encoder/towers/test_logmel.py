"""The log-mel spectrogram of the sound network."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from encoder.errors import InputError
from encoder.towers.audio import logmel
from encoder.types import Spectrogram, Waveform


def tone(frequency_hz: float, duration_s: float = 1.0, rate: int = 44_100) -> Waveform:
    t = np.arange(int(rate * duration_s)) / rate
    return Waveform(np.sin(2 * np.pi * frequency_hz * t).astype(np.float32), rate)


def test_each_band_weighs_one_in_sum() -> None:
    filters = logmel.mel_filters()
    assert filters.shape == (1025, 96)
    assert filters.sum(axis=0) == pytest.approx(1, abs=1e-5)


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


def test_scale_goes_from_silence_to_about_one() -> None:
    assert logmel.scale(np.zeros((2, 3), np.float32)) == pytest.approx(0)
    assert logmel.scale(np.full((1, 1), 2.9e5, np.float32)) == pytest.approx(1, abs=0.01)


def test_a_linear_spectrogram_means_the_same_as_its_sound() -> None:
    sound = tone(440)
    power = np.ascontiguousarray(logmel.power_spectrum(sound.samples).T)
    given = logmel.mel_power(Spectrogram(power, 44_100))
    np.testing.assert_allclose(given, logmel.mel_power(sound), rtol=1e-5, atol=1e-6)


def test_mel_bands_are_taken_as_they_are() -> None:
    power = np.random.default_rng(0).random((96, 7)).astype(np.float32)
    np.testing.assert_array_equal(logmel.mel_power(Spectrogram(power, 44_100)), power.T)


@pytest.mark.parametrize(("n_bins", "rate"), [(128, 44_100), (513, 44_100), (96, 16_000)])
def test_other_spectrograms_are_refused_with_what_is_wanted(n_bins: int, rate: int) -> None:
    with pytest.raises(InputError, match=rf"{n_bins} bins at {rate} Hz.*96 HTK mel.*1025 linear"):
        logmel.mel_power(Spectrogram(np.ones((n_bins, 4), np.float32), rate))


@pytest.mark.parametrize("n_samples", [1, 100, 2048])
def test_the_shortest_sound_has_a_frame(n_samples: int) -> None:
    power = logmel.mel_power(Waveform(np.ones(n_samples, np.float32), 44_100))
    assert power.shape[1] == 96
    assert len(power) >= 1
    assert np.isfinite(power).all()
