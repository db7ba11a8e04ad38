"""What is said in languages other than English, on the real multilingual model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr

from encoder.services.speech import Speech, is_voiced, speech_spans
from encoder.services.whisper import SAMPLING_RATE, Whisper
from encoder.system.cache import cache_home
from encoder.types import DOCUMENT, QUERY, Role, Waveform
from examples.speech import Speaker

GERMAN = "Der Zug nach Hamburg hat heute leider zwanzig Minuten Verspätung."
ENGLISH = "The children are building a castle out of sand."


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
    [(GERMAN, "de", "de", "hamburg"), (ENGLISH, "en-us", "en", "castle")],
)
def test_speech_is_written_down_in_its_own_language(
    speech: Speech, speaker: Speaker, text: str, voice: str, language: str, word: str
) -> None:
    said = say(speaker, text, voice)
    (span,) = speech.spans(said)
    assert span.language == language
    assert word in span.text.lower()
    assert 0.3 < span.confidence <= 1
    sentences = speech.transcribe(said)
    assert word in " ".join(one.text for one in sentences).lower()
    assert {one.language for one in sentences} == {language}
    assert sentences[0].start_s == pytest.approx(1.0, abs=0.7)
    assert sentences[-1].end_s <= said.duration_s + 0.1
    assert [span] == speech.spans(said)


def test_a_query_gets_more_silence_within_the_window(speech_folder: Path) -> None:
    whisper = Whisper(speech_folder, n_threads=1, compute_type="int8")

    def n_positions(length_s: float, role: Role) -> int:
        silence = np.zeros(int(length_s * SAMPLING_RATE), np.float32)
        return int(whisper.encode(silence, role).states.shape[1])

    assert n_positions(3.0, QUERY) - n_positions(3.0, DOCUMENT) == pytest.approx(10 * 50, abs=1)
    for length_s, role in ((20.0, QUERY), (26.0, DOCUMENT)):
        assert n_positions(length_s, role) == pytest.approx(30 * 50, abs=1)


@pytest.mark.slow
def test_what_is_hardly_heard_is_less_sure(speech: Speech, speaker: Speaker) -> None:
    clear = say(speaker, ENGLISH, "en-us")
    noise = np.random.default_rng(0).normal(0, 0.5 * clear.samples.std(), len(clear.samples))
    noisy = Waveform(clear.samples + noise.astype(np.float32), SAMPLING_RATE)
    (sure,), unsure = speech.spans(clear), speech.spans(noisy)
    assert all(span.confidence < sure.confidence for span in unsure)


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
    samples = say(speaker, ENGLISH, "en-us")
    monkeypatch.setattr("encoder.services.speech._TOKENS_PER_S", 1.0)
    (span,) = speech.spans(samples)
    assert "sand" in span.text.lower()


@pytest.mark.slow
def test_only_chinese_gets_a_script(speech: Speech, speaker: Speaker) -> None:
    whisper = speech._whisper
    speaking = whisper.encode(say(speaker, ENGLISH, "en-us").samples)
    for language, is_told in (("zh", True), ("en", False)):
        assert whisper.has_two_scripts(language) == is_told
        either, one = (
            whisper.write(
                speaking, language, with_times=True, tokens_per_s=4.0, in_one_script=only
            ).log_probability
            for only in (False, True)
        )
        assert (either != one) == is_told


def test_a_sound_like_speech_loads_no_weights(speech_folder: Path, tmp_path: Path) -> None:
    time_s = np.arange(3 * SAMPLING_RATE) / SAMPLING_RATE
    voices = sum(0.08 * np.sin(2 * np.pi * 220 * n * time_s) for n in range(1, 5))
    hoots = (voices * (time_s % 0.4 < 0.2)).astype(np.float32)
    sound = Waveform(hoots, SAMPLING_RATE)
    assert speech_spans(hoots)
    words = (speech_folder / "vocabulary.txt").read_bytes()
    (tmp_path / "vocabulary.txt").write_bytes(words)  # and no weights, so that loading would fail
    assert Speech(tmp_path).spans(sound) == Speech(tmp_path).transcribe(sound) == []
