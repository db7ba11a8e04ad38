"""Windows of sound, transcribed by a double that writes a word for each second."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.types import Utterance, Waveform
from workers.pipeline.transcripts import Transcript

RATE = 100
WINDOW_S = 5.0


class Scribe:
    """Writes a word for each second; sample ``n`` of the track has the value ``n``."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, float]] = []

    def __call__(self, sound: Waveform) -> list[Utterance]:
        first, last = (float(sound.samples[at]) / RATE for at in (0, -1))
        self.heard.append((first, last + 1 / RATE))
        return [
            Utterance(at, min(at + 1.0, sound.duration_s), f"second {round(first + at)}")
            for at in np.arange(0.0, sound.duration_s, 1.0)
        ]


def window(number: int) -> Waveform:
    n = round(WINDOW_S * RATE)
    return Waveform(np.arange(number * n, (number + 1) * n, dtype=np.float32), RATE)


def write(*spans: list[tuple[float, float]], scribe: Scribe) -> list[Utterance]:
    transcript = Transcript(scribe)
    for number, heard in enumerate(spans):
        transcript.add(window(number), number * WINDOW_S, heard)
    return transcript.end()


def test_what_is_said_within_a_window_is_heard_alone() -> None:
    scribe = Scribe()
    said = write([], [(1, 2), (3, 4)], [], scribe=scribe)
    assert said == [Utterance(6, 7, "second 6"), Utterance(8, 9, "second 8")]
    assert scribe.heard == [(6.0, 7.0), (8.0, 9.0)]


def test_speech_across_borders_is_joined_and_heard_once() -> None:
    scribe = Scribe()
    said = write([(3, 5)], [(0, 5)], [(0, 1), (2, 3)], scribe=scribe)
    assert scribe.heard == [(3.0, 11.0), (12.0, 13.0)]
    assert [one.text for one in said] == [f"second {n}" for n in [*range(3, 11), 12]]
    assert said[0] == Utterance(3, 4, "second 3")


def test_a_word_that_begins_at_a_border_is_heard_with_what_was_before() -> None:
    scribe = Scribe()
    write([], [(0, 2)], scribe=scribe)
    assert scribe.heard == [(4.6, 7.0)]


def test_what_only_sounds_like_speech_has_no_words() -> None:
    transcript = Transcript(lambda _: [])
    for number in range(10):
        transcript.add(window(number), number * WINDOW_S, [(0, 5)])
    assert transcript.end() == []


def test_speech_without_end_is_written_down_on_the_way() -> None:
    scribe = Scribe()
    n_windows = 60
    said = write(*[[(0.0, 5.0)]] * n_windows, scribe=scribe)
    assert [one.text for one in said] == [f"second {n}" for n in range(300)]
    assert max(end_s - start_s for start_s, end_s in scribe.heard) <= 36.0
    assert sum(end_s - start_s for start_s, end_s in scribe.heard) < 1.1 * 300


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=12))
def test_each_second_that_is_spoken_is_written_once(seconds: list[list[bool]]) -> None:
    """Speech in whole seconds, at any places."""
    windows = []
    for spoken in seconds:
        spans: list[tuple[float, float]] = []
        for at, speaks in enumerate(spoken):
            if speaks and spans and spans[-1][1] == at:
                spans[-1] = (spans[-1][0], at + 1.0)
            elif speaks:
                spans.append((at, at + 1.0))
        windows.append(spans)
    said = write(*windows, scribe=Scribe())
    covered = np.zeros(5 * len(seconds))
    for one in said:
        covered[round(one.start_s) : round(one.end_s)] += 1
    assert [bool(n) for n in covered] == [speaks for spoken in seconds for speaks in spoken]
    assert covered.max(initial=0) <= 1
    assert [one.start_s for one in said] == sorted(one.start_s for one in said)


def test_what_is_heard_as_one_becomes_a_text_for_each_sentence() -> None:
    words = "Add a pinch of salt, Mr. Smith. The museum is closed on Mondays. No."
    transcript = Transcript(lambda _: [Utterance(0.0, 6.5, words, 0.8, "en")])
    transcript.add(Waveform(np.zeros(8 * RATE, np.float32), RATE), 10.0, [(1.0, 7.5)])
    first, second = transcript.end()
    assert (first.text, second.text) == (words[:31], words[32:])
    assert first.start_s == 11.0
    assert second.start_s == pytest.approx(11.0 + 6.5 * 31 / len(words), abs=0.1)
    assert second.end_s == 17.5
    assert (second.confidence, second.language) == (0.8, "en")
