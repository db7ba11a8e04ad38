"""What is said, and where."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from encoder.models.bundle.declaration import SOUND_LABELS
from encoder.models.bundle.kinds import FLOAT
from encoder.runtime.onnx import OnnxSession
from encoder.services import speech
from encoder.system.cache import cache_home
from encoder.towers import text
from encoder.towers.audio.labels import load_sound_labels
from encoder.towers.audio.tower import AudioTower
from encoder.types import Waveform
from examples.speech import Speaker

SENTENCE = "The children are building a castle out of sand."
PAUSE_S = 3.0


@pytest.fixture(scope="module")
def recognizer(bundle_home: Path) -> speech.Speech:
    return speech.speech_of(bundle_home / "speech")


@pytest.fixture(scope="module")
def tower(bundle_home: Path, recognizer: speech.Speech) -> AudioTower:
    session = OnnxSession(bundle_home / "audio" / FLOAT, n_threads=1)
    text_tower = text.load(bundle_home / "text", n_threads=1)
    return AudioTower(session, recognizer, load_sound_labels(SOUND_LABELS), text_tower)


@pytest.fixture(scope="module")
def said() -> Waveform:
    """A sentence after three seconds of silence."""
    speaker = Speaker(cache_home())
    silence = np.zeros(int(PAUSE_S * speaker.sampling_rate), np.float32)
    samples = np.concatenate([silence, speaker.say(SENTENCE)])
    return Waveform(samples, speaker.sampling_rate)


@pytest.mark.slow
def test_a_sentence_is_written_down_with_its_time(
    recognizer: speech.Speech, said: Waveform
) -> None:
    (utterance,) = recognizer.transcribe(said)
    assert "castle" in utterance.text.lower()
    assert utterance.start_s == pytest.approx(PAUSE_S, abs=0.7)
    assert utterance.start_s < utterance.end_s <= said.duration_s + 0.1
    assert [utterance] == recognizer.transcribe(said)


def test_each_sentence_has_its_own_time(recognizer: speech.Speech, said: Waveform) -> None:
    other = Speaker(cache_home()).say(
        "The telescope discovered a planet which is twice as large as our own."
    )
    samples = np.concatenate([said.samples, np.zeros(said.sampling_rate // 2, np.float32), other])
    first, second = recognizer.transcribe(Waveform(samples, said.sampling_rate))
    assert "castle" in first.text
    assert "planet" in second.text
    assert first.end_s == pytest.approx(said.duration_s, abs=0.7)
    assert second.start_s == pytest.approx(said.duration_s + 0.5, abs=0.7)
    assert second.end_s <= len(samples) / said.sampling_rate + 0.1


def test_a_spoken_question_lies_near_its_text_and_a_recording_near_its_sound(
    tower: AudioTower, said: Waveform, bundle_home: Path
) -> None:
    text_tower = text.load(bundle_home / "text", n_threads=1)
    texts = [SENTENCE, "The bank raised its interest rates again.", "a dog barking"]
    rows = text_tower.forward([text_tower.prepare(each) for each in texts]).rows
    (asked,) = tower.query.forward([tower.query.prepare(said)]).rows
    assert int(np.argmax(rows @ asked)) == 0
    assert rows[0] @ asked > 0.9
    (stored,) = tower.forward([tower.prepare(said)]).rows
    assert abs(rows[0] @ stored) < 0.3
    noise = tower.prepare(
        Waveform(np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32), 16_000)
    )
    np.testing.assert_array_equal(tower.query.forward([noise]).rows, tower.forward([noise]).rows)


def test_noise_says_nothing(recognizer: speech.Speech) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    assert recognizer.transcribe(Waveform(samples, 16_000)) == []
    assert speech.speech_spans(np.zeros(0, np.float32)) == []


@pytest.mark.parametrize(
    ("n_samples", "lengths"),
    [(1, [16_000]), (160_000, [160_000]), (160_001, [80_001, 80_000]), (480_000, [160_000] * 3)],
)
def test_windows_are_equal_and_short(n_samples: int, lengths: list[int]) -> None:
    parts = list(speech.windows(np.zeros(n_samples, np.float32)))
    assert [len(part) for part in parts] == lengths


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_lengths(bundle_home: Path) -> None:
    """In a separate process, which holds nothing that another test could free."""
    script = """
import ctypes, sys
import numpy as np
from pathlib import Path
from encoder.services.speech import Speech

class Allocated(ctypes.Structure):  # struct mallinfo2
    _fields_ = [(f"field_{i}", ctypes.c_size_t) for i in range(10)]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Allocated
in_use_mb = lambda: (mallinfo2().field_4 + mallinfo2().field_7) / 1e6  # hblkhd, uordblks

speech = Speech(Path(sys.argv[1]), n_threads=1)
sound = np.random.default_rng(0).normal(0, 0.1, 64_000).astype(np.float32)
speech.features(sound)
before_mb = in_use_mb()
for n_samples in range(16_000, 64_000, 320):
    speech.features(sound[:n_samples])
print(in_use_mb() - before_mb)
"""
    command = [sys.executable, "-c", script, str(bundle_home / "speech")]
    env = {name: value for name, value in os.environ.items() if not name.startswith("ONEDNN_")}
    grown_mb = float(subprocess.check_output(command, env=env, text=True))
    assert grown_mb < 20  # 64 if the code for each length is kept
