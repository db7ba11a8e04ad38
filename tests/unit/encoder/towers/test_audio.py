"""The audio tower, on the real bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder.errors import ModelError
from encoder.models.bundle.declaration import SOUND_LABELS, TABLES
from encoder.models.bundle.kinds import FLOAT
from encoder.runtime.onnx import OnnxSession
from encoder.services.speech import Speech
from encoder.towers import text
from encoder.towers.audio import tower as audio
from encoder.towers.audio.labels import load_sound_labels
from encoder.towers.audio.tower import AudioTower
from encoder.types import Embeddings, Waveform

RATE = 44_100


@pytest.fixture(scope="module")
def tower(bundle_home: Path) -> AudioTower:
    text_tower = text.load(bundle_home / "text", n_threads=1)
    session = OnnxSession(bundle_home / "audio" / FLOAT, n_threads=1)
    speech = Speech(bundle_home / "speech", n_threads=1)
    return AudioTower(session, speech, load_sound_labels(SOUND_LABELS), text_tower)


def noise(duration_s: float, seed: int = 0, rate: int = RATE) -> Waveform:
    samples = np.random.default_rng(seed).normal(0, 0.1, int(duration_s * rate))
    return Waveform(samples.astype(np.float32), rate)


def beeps(duration_s: float) -> Waveform:
    t = np.arange(int(duration_s * RATE)) / RATE
    samples = np.sin(2 * np.pi * 1000 * t) * (t % 0.5 < 0.2)
    return Waveform(samples.astype(np.float32), RATE)


def embed(tower: AudioTower, *sounds: Waveform) -> Embeddings:
    return tower.forward([tower.prepare(sound) for sound in sounds]).rows


@pytest.mark.slow
def test_the_same_sound_is_the_same_vector_in_any_batch(tower: AudioTower) -> None:
    sounds = [noise(0.7), beeps(2.5), noise(3.1, seed=1)]
    together = embed(tower, *sounds)
    for sound, row in zip(sounds, together, strict=True):
        np.testing.assert_allclose(embed(tower, sound)[0], row, atol=1e-5)
    np.testing.assert_array_equal(together, embed(tower, *sounds))


def test_different_sounds_differ(tower: AudioTower) -> None:
    hiss, beep = embed(tower, noise(2.0), beeps(2.0))
    assert hiss @ beep < 0.9


def test_silence_around_a_sound_does_not_change_it(tower: AudioTower) -> None:
    sound = beeps(2.2)
    silence = np.zeros(2 * RATE, np.float32)
    padded = Waveform(np.concatenate([silence, sound.samples, silence]), RATE)
    alone, within = embed(tower, sound, padded)
    assert alone @ within > 0.9


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_any_rate_will_do(tower: AudioTower, rate: int) -> None:
    assert np.isfinite(embed(tower, noise(1.0, rate=rate))).all()


@pytest.mark.parametrize("n_samples", [1, 100, 2_000])
def test_very_short_sounds_are_heard(tower: AudioTower, n_samples: int) -> None:
    (row,) = embed(tower, Waveform(np.full(n_samples, 0.5, np.float32), 16_000))
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)


def test_digital_silence_has_a_place(tower: AudioTower) -> None:
    (row,) = embed(tower, Waveform(np.zeros(RATE, np.float32), RATE))
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_a_long_sound_is_many_blocks(tower: AudioTower) -> None:
    prepared = tower.prepare(noise(60.0, rate=16_000))
    assert len(prepared) == pytest.approx(60 * RATE / 1024 / 100, abs=1)
    assert len(audio.unpack_samples(prepared)) == pytest.approx(60 * 16_000, rel=1e-3)
    assert tower.forward([prepared]).rows.shape == (1, 384)


@pytest.mark.parametrize("n_samples", [0, 1, 7, 8])
def test_samples_survive_packing(n_samples: int) -> None:
    samples = np.arange(n_samples, dtype=np.float32)
    packed = audio.pack(np.zeros((3, 100, 96), np.float32), samples)
    assert len(packed) == 3
    np.testing.assert_array_equal(audio.unpack_samples(packed), samples)


def test_sounds_in_many_languages_need_no_speech_model_where_nobody_speaks(
    bundle_home: Path, tmp_path: Path
) -> None:
    labels = load_sound_labels(TABLES / "sounds_e5.npz")
    assert labels.head.n_speech_features == 0
    session = OnnxSession(bundle_home / "audio" / FLOAT, n_threads=1)
    nowhere = Speech(tmp_path, n_threads=1)
    tower = AudioTower(session, nowhere, labels, text.load(bundle_home / "text", n_threads=1))
    hiss, beep = embed(tower, noise(2.0), beeps(2.0))
    assert np.linalg.norm(hiss) == pytest.approx(1, abs=1e-5)
    assert hiss @ beep < 0.99  # texts of this space have 0.8 in common
    with pytest.raises(ModelError, match="no Whisper model in"):
        nowhere.features(np.zeros(16_000, np.float32))
