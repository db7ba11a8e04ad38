"""The audio tower, on the real bundle."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import librosa
import numpy as np
import pytest

from encoder.errors import ModelError
from encoder.models.bundle.declaration import SOUND_LABELS, TABLES
from encoder.models.bundle.kinds import FLOAT
from encoder.runtime.onnx import OnnxSession
from encoder.services.sound_classes import SoundClasses
from encoder.services.speech import Speech
from encoder.towers import text
from encoder.towers.audio import labels as sound_labels
from encoder.towers.audio import logmel
from encoder.towers.audio import tower as audio
from encoder.towers.audio.labels import load_class_places, load_sound_labels
from encoder.towers.audio.tower import AudioTower
from encoder.types import Embeddings, Waveform

RATE = 44_100


@pytest.fixture(scope="module")
def tower(bundle_home: Path) -> AudioTower:
    text_tower = text.load(bundle_home / "text", n_threads=1)
    session = OnnxSession(bundle_home / "audio" / FLOAT, n_threads=1)
    speech = Speech(bundle_home / "speech", n_threads=1)
    places = load_class_places(TABLES / "sound_classes.npz")
    return AudioTower(
        session,
        classes_in(bundle_home),
        places,
        speech,
        load_sound_labels(SOUND_LABELS),
        text_tower,
    )


def classes_in(home: Path) -> SoundClasses:
    return SoundClasses(partial(OnnxSession, home / "sounds" / FLOAT, n_threads=1))


def noise(duration_s: float, seed: int = 0, rate: int = RATE) -> Waveform:
    samples = np.random.default_rng(seed).normal(0, 0.1, int(duration_s * rate))
    return Waveform(samples.astype(np.float32), rate)


def beeps(duration_s: float) -> Waveform:
    t = np.arange(int(duration_s * RATE)) / RATE
    samples = np.sin(2 * np.pi * 1000 * t) * (t % 0.5 < 0.2)
    return Waveform(samples.astype(np.float32), RATE)


def embed(tower: AudioTower, *sounds: Waveform) -> Embeddings:
    return tower.forward([tower.prepare(sound) for sound in sounds]).rows


def test_silence_around_a_sound_does_not_change_it(tower: AudioTower) -> None:
    sound = beeps(2.2)
    silence = np.zeros(2 * RATE, np.float32)
    padded = Waveform(np.concatenate([silence, sound.samples, silence]), RATE)
    alone, within = embed(tower, sound, padded)
    assert alone @ within > 0.9


@pytest.mark.parametrize("n_samples", [1, 100, 2_000])
@pytest.mark.parametrize("level", [0.5, 0.0], ids=["short", "silent"])
def test_short_and_silent_sounds_have_a_place(
    tower: AudioTower, n_samples: int, level: float
) -> None:
    (row,) = embed(tower, Waveform(np.full(n_samples, level, np.float32), 16_000))
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_a_long_sound_is_many_blocks(tower: AudioTower) -> None:
    prepared = tower.prepare(noise(60.0, rate=16_000))
    assert len(prepared) == pytest.approx(60 * RATE / 1024 / 200, abs=1)
    assert len(audio.unpack_samples(prepared)) == pytest.approx(60 * 16_000, rel=1e-3)
    assert tower.forward([prepared]).rows.shape == (1, 384)


def test_sounds_have_a_row_for_each_group_of_languages_and_need_no_speech_model(
    bundle_home: Path, tmp_path: Path
) -> None:
    labels = load_sound_labels(TABLES / "sounds_e5.npz")
    session = OnnxSession(bundle_home / "audio" / FLOAT, n_threads=1)
    nowhere = Speech(tmp_path, n_threads=1)
    places = load_class_places(TABLES / "sound_classes_e5.npz")
    questions = text.load(bundle_home / "text", n_threads=1)
    tower = AudioTower(session, classes_in(bundle_home), places, nowhere, labels, questions)
    hiss, beep = np.split(embed(tower, noise(2.0), beeps(2.0)), 2)
    assert tower.n_rows == len(hiss) == len(beep) == 2  # for two groups of languages
    assert np.linalg.norm(hiss, axis=1) == pytest.approx(1, abs=1e-5)
    assert hiss[0] @ beep[0] < 0.9


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


def test_probabilities_sum_to_one() -> None:
    labels = sound_labels.load_sound_labels(SOUND_LABELS)
    rng = np.random.default_rng(0)
    logits = [rng.normal(size=(3, len(c))).astype(np.float32) * 5 for c in labels.columns]
    assert sound_labels.ucs_probabilities(logits, labels).sum() == pytest.approx(1, abs=1e-5)
    features = rng.normal(size=len(labels.head.mean)).astype(np.float32)
    assert labels.head.probabilities(features).sum() == pytest.approx(1, abs=1e-5)


def test_the_point_lies_at_the_likeliest_names() -> None:
    embeddings = np.eye(12, dtype=np.float32)
    likely = np.array([0.6, 0.3] + [0.01] * 10, np.float32)
    place = sound_labels.point(likely, embeddings)
    assert np.linalg.norm(place) == pytest.approx(1)
    assert place[0] > place[1] > place[2]
    assert np.count_nonzero(place) == 10


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    np.savez(path, ucs_embeddings=np.zeros(3))
    with pytest.raises(ModelError, match=r"labels\.npz cannot be read"):
        sound_labels.load_sound_labels(path)
    with pytest.raises(ModelError, match="Install anymodal again"):
        sound_labels.load_sound_labels(tmp_path / "none.npz")
