"""Spectrograms as librosa makes them, back to sound."""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np
import pytest
from numpy.typing import NDArray

from encoder import MultiModalEncoder
from encoder.errors import InputError
from encoder.media.spectrogram import (
    SpectrogramLayout,
    griffin_lim,
    istft,
    mel_filters,
    stft,
    to_sound,
)
from encoder.types import Waveform
from examples.sounds import RATE, SOUNDS
from tests.support.media import tone

pytestmark = pytest.mark.slow

LIKE_NOISE = ("rain", "thunder")
TONAL = ("church-bell", "siren")
OTHERS = ("clock-ticking",)  # a motorcycle's engine is nearer to a rocket, .50 : .46


@pytest.fixture(scope="module")
def encoder() -> MultiModalEncoder:
    return MultiModalEncoder(quantization="int8")


def sound(name: str) -> NDArray[np.float32]:
    return SOUNDS[name]()


def invert(array: NDArray[Any], rate: int = RATE, **layout: Any) -> Waveform:
    return to_sound("audio", array, rate, SpectrogramLayout(**layout))


@pytest.fixture(scope="module")
def all_heard(encoder: MultiModalEncoder) -> dict[str, NDArray[np.float32]]:
    """Every sound of the examples, as a waveform."""
    return {
        name: encoder.encode_multimodal(audio=Waveform(sound(name), RATE)).audio for name in SOUNDS
    }


def nearest(seen: NDArray[np.float32], all_heard: dict[str, NDArray[np.float32]]) -> str:
    return max(all_heard, key=lambda name: float(all_heard[name] @ seen))


@pytest.mark.usefixtures("bundle_home")
@pytest.mark.parametrize("name", [*LIKE_NOISE, *TONAL, *OTHERS])
def test_librosas_default_mel_is_heard_as_its_sound(
    name: str, encoder: MultiModalEncoder, all_heard: dict[str, NDArray[np.float32]]
) -> None:
    mel = librosa.feature.melspectrogram(y=sound(name), sr=RATE)
    seen = encoder.encode_multimodal(audio=mel, audio_kind="spectrogram", sampling_rate=RATE).audio
    assert nearest(seen, all_heard) == name


@pytest.mark.usefixtures("bundle_home")
@pytest.mark.parametrize("name", ["rain", "piano"])
def test_every_kind_is_heard_as_its_sound(
    name: str, encoder: MultiModalEncoder, all_heard: dict[str, NDArray[np.float32]]
) -> None:
    samples = sound(name)[: 3 * RATE]
    stft = librosa.stft(samples, n_fft=1024, hop_length=300)
    frame = {"n_fft": 1024, "hop_length": 300}
    bands = {"n_mels": 90, "fmin": 30.0, "fmax": 10_000.0}
    mel, mel_power = (
        librosa.feature.melspectrogram(y=samples, sr=RATE, **frame, **bands, power=power)
        for power in (1.0, 2.0)
    )
    kinds: list[tuple[NDArray[Any], dict[str, Any]]] = [
        (stft, {"hop_length": 300}),
        (np.abs(stft), {**frame, "power": 1.0}),
        (np.abs(stft) ** 2, frame),
        (librosa.amplitude_to_db(np.abs(stft)), {**frame, "power": "db"}),
        (librosa.amplitude_to_db(np.abs(stft), ref=np.max), {**frame, "power": "db"}),
        (mel, {**frame, **bands, "power": 1.0}),
        (mel_power, {**frame, **bands}),
        (librosa.power_to_db(mel_power), {**frame, **bands, "power": "db"}),
    ]
    for array, layout in kinds:
        seen = encoder.encode_multimodal(
            audio=array, audio_kind="spectrogram", sampling_rate=RATE, **layout
        ).audio
        assert nearest(seen, all_heard) == name, layout


@pytest.mark.parametrize("n_fft", [512, 2048, 1000])
def test_a_complex_spectrogram_is_its_sound_again(n_fft: int) -> None:
    samples = tone(1.0, RATE)
    heard = invert(librosa.stft(samples, n_fft=n_fft))
    n = len(heard.samples)
    assert n > len(samples) - n_fft
    np.testing.assert_allclose(heard.samples, samples[:n], atol=1e-4)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, "db"])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_a_tone_keeps_its_pitch_and_its_level(power: float | str, rate: int) -> None:
    samples = tone(1.0, rate)
    magnitude = np.abs(librosa.stft(samples, n_fft=1024))
    values = librosa.amplitude_to_db(magnitude) if power == "db" else magnitude**power
    heard = invert(values, rate, n_fft=1024, power=power)
    assert heard.sampling_rate == rate
    middle = heard.samples[rate // 4 : rate // 2]
    spectrum = np.abs(np.fft.rfft(middle))
    assert np.argmax(spectrum) / len(middle) * rate == pytest.approx(440, abs=8)
    assert np.abs(middle).max() == pytest.approx(0.3, rel=0.15)


@pytest.mark.parametrize("power", [2.0, 1.0])
def test_silence_stays_silent(power: float) -> None:
    assert not invert(np.zeros((128, 9)), power=power).samples.any()


def test_decibels_below_their_peak_get_a_level() -> None:
    mel = librosa.feature.melspectrogram(y=tone(0.5, RATE) / 100, sr=RATE)
    heard = invert(librosa.power_to_db(mel, ref=np.max), power="db")
    assert np.abs(heard.samples).max() == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_few_frames_are_a_short_sound(n_frames: int) -> None:
    for array in (np.ones((128, n_frames)), librosa.stft(tone(1.0, RATE))[:, 9 : 9 + n_frames]):
        assert len(invert(array).samples) == 512 * max(n_frames - 1, 1)


def filled(value: float, shape: tuple[int, ...] = (128, 40)) -> NDArray[np.float64]:
    return np.full(shape, value)


@pytest.mark.parametrize(
    ("array", "layout", "got", "wanted"),
    [
        (np.ones(128), {}, "(128,)", "[bins, frames]"),
        (np.ones((2, 128, 9)), {}, "(2, 128, 9)", "[bins, frames]"),
        (np.ones((128, 0)), {}, "(128, 0)", "[bins, frames]"),
        (np.ones((128, 9), np.uint8), {}, "uint8", "float"),
        (np.ones((128, 9), object), {}, "object", "float"),
        (filled(np.nan), {}, "5120 values that are NaN", "none"),
        (filled(np.inf), {}, "NaN or infinite", "none"),
        (filled(-3.0), {}, "down to -3", 'power="db"'),
        (filled(300.0), {"power": "db"}, "up to 300", "decibels"),
        (filled(1e12), {}, "a sound up to", "[-1, 1]"),
        (filled(1.0, (80, 40)), {}, "(80, 40)", "n_mels=80"),
        (filled(1.0, (257, 40)), {}, "(257, 40)", "n_fft=512"),
        (filled(1.0, (40, 128)), {}, "(40, 128)", "transpose"),
        (filled(1.0, (40, 1025)), {}, "(40, 1025)", "transpose"),
        (filled(1.0, (40, 64)), {"n_mels": 64}, "(40, 64)", "transpose"),
        (filled(1.0), {"n_mels": 80}, "(128, 40)", "n_mels"),
        (filled(1.0) + 1j, {"power": "db"}, "complex", 'power="db"'),
        (filled(1.0) + 1j, {"n_mels": 128}, "complex", "n_mels=128"),
        (filled(1.0) + 1j, {"n_fft": 512}, "(128, 40)", "n_fft=254"),
        (filled(1.0, (4, 40)) + 1j, {}, "6", "16"),
        (filled(1.0), {"hop_length": 4096}, "4096", "n_fft at most"),
        (filled(1.0), {"fmax": 20_000.0}, "20000 Hz", "11025"),
        (filled(1.0), {"fmin": 9_000.0, "fmax": 8_000.0}, "9000 to 8000", "within"),
        (np.ones((128, 30_000), np.float32), {}, "697 s", "600 s"),
        (filled(1.0), {"n_fft": 4}, "4", "16"),
        (filled(1.0), {"hop_length": 0}, "0", "whole number"),
        (filled(1.0), {"n_mels": 12.5}, "12.5", "whole number"),
        (filled(1.0), {"fmin": -1}, "-1", "Hz"),
        (filled(1.0), {"fmax": np.nan}, "nan", "Hz"),
        (filled(1.0), {"power": 0}, "0", "magnitude"),
        (filled(1.0), {"power": "dB?"}, "dB?", "magnitude"),
    ],
)
def test_errors_name_what_came_and_what_is_wanted(
    array: NDArray[Any], layout: dict[str, Any], got: str, wanted: str
) -> None:
    with pytest.raises(InputError) as caught:
        invert(array, **layout)
    assert got in caught.value.got
    assert wanted in caught.value.wanted


@pytest.mark.usefixtures("bundle_home")
def test_a_layout_without_a_spectrogram_is_refused(encoder: MultiModalEncoder) -> None:
    with pytest.raises(InputError, match="audio_kind"):
        encoder.encode_multimodal(audio=np.zeros(100), n_mels=128)


FRAMES = [(2048, 512), (1024, 300), (512, 512), (1000, 250), (16, 5)]


@pytest.mark.parametrize(("n_fft", "hop"), FRAMES)
def test_spectra_are_those_of_librosa(n_fft: int, hop: int) -> None:
    samples = SOUNDS["wind"]()[:RATE]
    theirs = librosa.stft(samples, n_fft=n_fft, hop_length=hop)
    np.testing.assert_allclose(stft(samples, n_fft, hop).T, theirs, atol=1e-6)


@pytest.mark.parametrize(("n_fft", "hop"), [*FRAMES, (17, 4)])
def test_a_sound_comes_back_as_librosa_brings_it(n_fft: int, hop: int) -> None:
    spectra = librosa.stft(SOUNDS["wind"]()[:RATE], n_fft=n_fft, hop_length=hop)
    n_samples = hop * (spectra.shape[1] - 1)
    theirs = librosa.istft(spectra, n_fft=n_fft, hop_length=hop, length=n_samples)
    ours = istft(np.ascontiguousarray(spectra.T), n_fft, hop, n_samples)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


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
