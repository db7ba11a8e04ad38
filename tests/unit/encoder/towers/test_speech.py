"""What is said, and where."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from math import log
from pathlib import Path

import numpy as np
import pytest
import soxr

from encoder.models.bundle.declaration import SOUND_LABELS, TABLES
from encoder.models.bundle.kinds import FLOAT
from encoder.runtime.onnx import OnnxSession
from encoder.services.sound_classes import SoundClasses
from encoder.services.speech import Speech, confidence_of, is_voiced, speech_of, speech_spans
from encoder.services.whisper import SAMPLING_RATE, Whisper, WrittenSpeech
from encoder.system.cache import cache_home
from encoder.towers import text
from encoder.towers.audio.labels import load_class_places, load_sound_labels
from encoder.towers.audio.tower import AudioTower
from encoder.types import Waveform
from examples.speech import Speaker

SENTENCE = "The children are building a castle out of sand."
PAUSE_S = 3.0


@pytest.fixture(scope="module")
def recognizer(bundle_home: Path) -> Speech:
    return speech_of(bundle_home / "speech")


@pytest.fixture(scope="module")
def tower(bundle_home: Path, recognizer: Speech) -> AudioTower:
    session = OnnxSession(bundle_home / "audio" / FLOAT, n_threads=1)
    text_tower = text.load(bundle_home / "text", n_threads=1)
    classes = SoundClasses(partial(OnnxSession, bundle_home / "sounds" / FLOAT, n_threads=1))
    places = load_class_places(TABLES / "sound_classes.npz")
    labels = load_sound_labels(SOUND_LABELS)
    return AudioTower(session, classes, places, recognizer, labels, text_tower)


@pytest.fixture(scope="module")
def said() -> Waveform:
    """A sentence after three seconds of silence."""
    speaker = Speaker(cache_home())
    silence = np.zeros(int(PAUSE_S * speaker.sampling_rate), np.float32)
    samples = np.concatenate([silence, speaker.say(SENTENCE)])
    return Waveform(samples, speaker.sampling_rate)


@pytest.mark.slow
def test_a_sentence_is_written_down_with_its_time(recognizer: Speech, said: Waveform) -> None:
    (utterance,) = recognizer.transcribe(said)
    assert "castle" in utterance.text.lower()
    assert utterance.start_s == pytest.approx(PAUSE_S, abs=0.7)
    assert utterance.start_s < utterance.end_s <= said.duration_s + 0.1
    assert [utterance] == recognizer.transcribe(said)


def test_each_sentence_has_its_own_time(recognizer: Speech, said: Waveform) -> None:
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


def test_noise_says_nothing(recognizer: Speech) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    assert recognizer.transcribe(Waveform(samples, 16_000)) == []
    assert speech_spans(np.zeros(0, np.float32)) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_lengths(bundle_home: Path) -> None:
    """In a separate process, which holds nothing that another test could free."""
    script = """
import ctypes, sys
import numpy as np
from pathlib import Path
from encoder.services.whisper import Whisper

class Allocated(ctypes.Structure):  # struct mallinfo2
    _fields_ = [(f"field_{i}", ctypes.c_size_t) for i in range(10)]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Allocated
in_use_mb = lambda: (mallinfo2().field_4 + mallinfo2().field_7) / 1e6  # hblkhd, uordblks

whisper = Whisper(Path(sys.argv[1]), n_threads=1, compute_type="int8")
sound = np.random.default_rng(0).normal(0, 0.1, 64_000).astype(np.float32)
whisper.encode(sound)
before_mb = in_use_mb()
for n_samples in range(16_000, 64_000, 320):
    whisper.encode(sound[:n_samples])
print(in_use_mb() - before_mb)
"""
    command = [sys.executable, "-c", script, str(bundle_home / "speech")]
    env = {name: value for name, value in os.environ.items() if not name.startswith("ONEDNN_")}
    grown_mb = float(subprocess.check_output(command, env=env, text=True))
    assert grown_mb < 20  # 64 if the code for each length is kept


GERMAN = "Der Zug nach Hamburg hat heute leider zwanzig Minuten Verspätung."


@pytest.fixture(scope="module")
def speech(speech_folder: Path) -> Speech:
    return Speech(speech_folder, n_threads=1)


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    return Speaker(cache_home())


def say(speaker: Speaker, text: str, voice: str) -> Waveform:
    """Speech between silences, at 16 kHz."""
    said = soxr.resample(speaker.say(text, voice), speaker.sampling_rate, SAMPLING_RATE)
    return Waveform(np.pad(said, SAMPLING_RATE), SAMPLING_RATE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "voice", "language", "word"),
    [(GERMAN, "de", "de", "hamburg"), (SENTENCE, "en-us", "en", "castle")],
)
def test_speech_is_written_down_in_its_own_language(
    speech: Speech, speaker: Speaker, text: str, voice: str, language: str, word: str
) -> None:
    said = say(speaker, text, voice)
    ((start_s, end_s),) = speech.spans(said)
    assert 0 < start_s < 1.1 < end_s <= said.duration_s
    sentences = speech.transcribe(said)
    assert all(0.3 < one.confidence <= 1 for one in sentences)
    assert word in " ".join(one.text for one in sentences).lower()
    assert {one.language for one in sentences} == {language}
    assert sentences[0].start_s == pytest.approx(1.0, abs=0.7)
    assert sentences[-1].end_s <= said.duration_s + 0.1
    assert sentences == speech.transcribe(said)


def test_silence_follows_speech_within_the_window(speech_folder: Path) -> None:
    whisper = Whisper(speech_folder, n_threads=1, compute_type="int8")
    for length_s, whole_s in ((3.0, 8.3), (26.0, 30.0)):
        speech = np.zeros(int(length_s * SAMPLING_RATE), np.float32)
        n_states = int(whisper.encode(speech).states.shape[1])
        assert n_states == pytest.approx(whole_s * 50, abs=1)


@pytest.mark.slow
def test_words_are_the_same_however_loud_they_are_and_whatever_is_beside_them(
    speech: Speech, speaker: Speaker
) -> None:
    loud = say(speaker, "Mix flour, water, salt and yeast for a loaf of bread.", "en-us")
    noise = np.random.default_rng(0).normal(0, 0.002 * np.abs(loud.samples).max(), 200_000)
    for gain, n_before, share in ((1, 0, 0), (0.1, 0, 0), (0.5, 333, 0), (0.9, 1_600, 1)):
        samples = np.pad(loud.samples, (n_before, 0)) * gain
        samples = (samples + share * noise[: len(samples)]).astype(np.float32)
        said = speech.transcribe(Waveform(samples, SAMPLING_RATE))
        words = set(re.findall(r"\w+", " ".join(sentence.text for sentence in said).lower()))
        assert words >= {"flour", "water", "salt", "yeast", "loaf", "bread"}


@pytest.mark.slow
def test_what_the_detector_is_not_sure_of_is_kept_if_it_sounds_like_speech(
    bundle_home: Path, speech_folder: Path, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("encoder.services.speech.is_voiced", lambda _: False)
    network = partial(OnnxSession, bundle_home / "sounds" / FLOAT, n_threads=1)
    speech = Speech(speech_folder, n_threads=1, classes=SoundClasses(network))
    word = say(speaker, SENTENCE, "en-us")
    assert "castle" in " ".join(said.text for said in speech.transcribe(word)).lower()
    assert Speech(speech_folder, n_threads=1).transcribe(word) == []


@pytest.mark.slow
def test_what_is_hardly_heard_is_less_sure(speech: Speech, speaker: Speaker) -> None:
    clear = say(speaker, SENTENCE, "en-us")
    noise = np.random.default_rng(0).normal(0, 0.5 * clear.samples.std(), len(clear.samples))
    noisy = Waveform(clear.samples + noise.astype(np.float32), SAMPLING_RATE)
    (sure,), unsure = speech.transcribe(clear), speech.transcribe(noisy)
    assert all(said.confidence < sure.confidence for said in unsure)


def test_what_is_guessed_is_dropped() -> None:
    likely = [WrittenSpeech([], "Where is the ferry", "en", log(p), 0.0, False) for p in (0.3, 0.5)]
    guessed, heard = map(confidence_of, likely)
    assert guessed == 0.0
    assert 0.3 < heard < 1.0


def test_noise_and_tones_are_no_words(speech: Speech) -> None:
    time_s = np.arange(3 * SAMPLING_RATE) / SAMPLING_RATE
    tone = 0.3 * np.sin(2 * np.pi * 220 * time_s) * (time_s % 0.4 < 0.2)
    noise = np.random.default_rng(0).normal(0, 0.1, len(time_s))
    for sound in (tone, noise):
        assert speech.spans(Waveform(sound.astype(np.float32), SAMPLING_RATE)) == []
        assert not is_voiced(sound.astype(np.float32))


@pytest.mark.slow
def test_what_is_cut_is_written_down_again(
    speech: Speech, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = say(speaker, SENTENCE, "en-us")
    monkeypatch.setattr("encoder.services.speech._TOKENS_PER_S", 1.0)
    (said,) = speech.transcribe(samples)
    assert "sand" in said.text.lower()


@pytest.mark.slow
def test_only_chinese_gets_a_script(speech: Speech, speaker: Speaker) -> None:
    whisper = speech._whisper
    speaking = whisper.encode(say(speaker, SENTENCE, "en-us").samples)
    for language, is_told in (("zh", True), ("en", False)):
        assert whisper.has_two_scripts(language) == is_told
        (either,), (one,) = (
            whisper.write(speaking, [language], tokens_per_s=4.0, in_one_script=only)
            for only in (False, True)
        )
        assert (either.log_probability != one.log_probability) == is_told


@pytest.mark.slow
def test_words_in_several_languages_are_the_same_at_once(speech: Speech, speaker: Speaker) -> None:
    whisper, languages = speech._whisper, ["de", "en", "zh"]
    speaking = whisper.encode(say(speaker, GERMAN, "de").samples)
    write = partial(whisper.write, speaking, tokens_per_s=6.0, n_beams=5)
    at_once = write(languages)
    assert [words.language for words in at_once] == languages
    assert len({words.log_probability for words in at_once}) == len(languages)
    assert at_once == [words for language in languages for words in write([language])]


def test_a_sound_like_speech_loads_no_weights(speech_folder: Path, tmp_path: Path) -> None:
    time_s = np.arange(3 * SAMPLING_RATE) / SAMPLING_RATE
    voices = sum(0.08 * np.sin(2 * np.pi * 220 * n * time_s) for n in range(1, 5))
    hoots = (voices * (time_s % 0.4 < 0.2)).astype(np.float32)
    sound = Waveform(hoots, SAMPLING_RATE)
    assert speech_spans(hoots)
    words = (speech_folder / "vocabulary.txt").read_bytes()
    (tmp_path / "vocabulary.txt").write_bytes(words)  # and no weights, so that loading would fail
    assert Speech(tmp_path).spans(sound) == Speech(tmp_path).transcribe(sound) == []
