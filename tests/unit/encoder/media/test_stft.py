"""Short-time Fourier transforms and mel bands are librosa's."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from encoder.media.spectrogram import griffin_lim, istft, mel_filters, stft
from examples.sounds import RATE, SOUNDS

FRAMES = [(2048, 512), (1024, 300), (512, 512), (1000, 250), (16, 5)]


@pytest.mark.slow
@pytest.mark.parametrize(("n_fft", "hop"), FRAMES)
def test_spectra_are_those_of_librosa(n_fft: int, hop: int) -> None:
    samples = SOUNDS["wind"]()[:RATE]
    theirs = librosa.stft(samples, n_fft=n_fft, hop_length=hop)
    np.testing.assert_allclose(stft(samples, n_fft, hop).T, theirs, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("n_fft", "hop"), [*FRAMES, (17, 4)])
def test_a_sound_comes_back_as_librosa_brings_it(n_fft: int, hop: int) -> None:
    spectra = librosa.stft(SOUNDS["wind"]()[:RATE], n_fft=n_fft, hop_length=hop)
    n_samples = hop * (spectra.shape[1] - 1)
    theirs = librosa.istft(spectra, n_fft=n_fft, hop_length=hop, length=n_samples)
    ours = istft(np.ascontiguousarray(spectra.T), n_fft, hop, n_samples)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("n_fft", "hop"), [(2048, 512), (1024, 300)])
def test_phases_are_those_of_librosa(n_fft: int, hop: int) -> None:
    magnitudes = np.abs(librosa.stft(SOUNDS["piano"]()[:RATE], n_fft=n_fft, hop_length=hop))
    n_samples = hop * (magnitudes.shape[1] - 1)
    theirs = librosa.griffinlim(
        magnitudes, n_iter=8, random_state=0, n_fft=n_fft, hop_length=hop, length=n_samples
    )
    ours = griffin_lim(np.ascontiguousarray(magnitudes.T), n_fft, hop, 8)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_frames_of_an_odd_length_have_phases_too() -> None:
    magnitudes = np.abs(librosa.stft(SOUNDS["piano"]()[:2000], n_fft=17, hop_length=4))
    assert (
        len(griffin_lim(np.ascontiguousarray(magnitudes.T), 17, 4, 2)) == len(magnitudes.T) * 4 - 3
    )


@pytest.mark.parametrize(
    ("rate", "n_fft", "n_mels", "fmin", "fmax"),
    [
        (22050, 2048, 128, 0.0, 11025.0),
        (44100, 1024, 90, 30.0, 10_000.0),
        (8000, 400, 23, 0.0, 800.0),
    ],
)
def test_bands_are_those_of_librosa(
    rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float
) -> None:
    theirs = librosa.filters.mel(
        sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, dtype=np.float64
    )
    np.testing.assert_allclose(mel_filters(rate, n_fft, n_mels, fmin, fmax), theirs, atol=1e-12)
