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


def write(*spans: list[Utterance], scribe: Scribe) -> list[Utterance]:
    transcript = Transcript(scribe)
    for number, heard in enumerate(spans):
        transcript.add(window(number), number * WINDOW_S, heard)
    return transcript.end()


def span(start_s: float, end_s: float, text: str = "words") -> Utterance:
    return Utterance(start_s, end_s, text)


def test_what_is_said_within_a_window_is_not_heard_twice() -> None:
    scribe = Scribe()
    said = write([], [span(1, 2, "one"), span(3, 4, "two")], [], scribe=scribe)
    assert said == [span(6, 7, "one"), span(8, 9, "two")]
    assert scribe.heard == []


def test_a_whole_file_of_one_window_is_not_heard_twice() -> None:
    scribe = Scribe()
    assert write([span(0, 5, "all")], scribe=scribe) == [span(0, 5, "all")]
    assert scribe.heard == []


def test_speech_across_borders_is_joined() -> None:
    scribe = Scribe()
    said = write([span(3, 5)], [span(0, 5)], [span(0, 1), span(2, 3, "alone")], scribe=scribe)
    assert scribe.heard == [(3.0, 11.0)]
    assert [one.text for one in said] == [*(f"second {n}" for n in range(3, 11)), "alone"]
    assert said[0] == span(3, 4, "second 3")
    assert said[-1] == span(12, 13, "alone")


def test_a_word_that_begins_at_a_border_is_heard_with_what_was_before() -> None:
    scribe = Scribe()
    write([], [span(0, 2)], scribe=scribe)
    assert scribe.heard == [(4.6, 7.0)]


def test_what_only_sounds_like_speech_costs_nothing() -> None:
    scribe = Scribe()
    assert write([span(0, 5, "")], [span(0, 5, "")], scribe=scribe) == []
    assert scribe.heard == []


def test_doubt_and_language_stay_with_the_words() -> None:
    words = Utterance(3.0, 5.0, "vielleicht", 0.3, "de")
    assert write([words], [], scribe=Scribe()) == [words]


def test_words_are_kept_where_the_whole_is_unclear() -> None:
    transcript = Transcript(lambda _: [])
    transcript.add(window(0), 0.0, [span(3, 5, "sure")])
    transcript.add(window(1), 5.0, [span(0, 5, "")])
    assert transcript.end() == [span(3, 5, "sure")]


def test_speech_without_end_is_written_down_on_the_way() -> None:
    scribe = Scribe()
    n_windows = 60
    said = write(*[[span(0, 5)]] * n_windows, scribe=scribe)
    assert [one.text for one in said] == [f"second {n}" for n in range(300)]
    assert max(end_s - start_s for start_s, end_s in scribe.heard) <= 36.0
    assert sum(end_s - start_s for start_s, end_s in scribe.heard) < 1.1 * 300


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=12))
def test_each_second_that_is_spoken_is_written_once(seconds: list[list[bool]]) -> None:
    """Speech in whole seconds, at any places."""
    windows = []
    for spoken in seconds:
        spans: list[Utterance] = []
        for at, speaks in enumerate(spoken):
            if speaks and spans and spans[-1].end_s == at:
                spans[-1] = span(spans[-1].start_s, at + 1.0)
            elif speaks:
                spans.append(span(at, at + 1.0))
        windows.append(spans)
    said = write(*windows, scribe=Scribe())
    covered = np.zeros(5 * len(seconds))
    for one in said:
        covered[round(one.start_s) : round(one.end_s)] += 1
    assert [bool(n) for n in covered] == [speaks for spoken in seconds for speaks in spoken]
    assert covered.max(initial=0) <= 1
    assert [one.start_s for one in said] == sorted(one.start_s for one in said)


def test_what_is_heard_as_one_becomes_a_text_for_each_sentence() -> None:
    transcript = Transcript(lambda _: [])
    window = Waveform(np.zeros(8 * RATE, np.float32), RATE)
    words = "Add a pinch of salt, Mr. Smith. The museum is closed on Mondays. No."
    transcript.add(window, 10.0, [Utterance(1.0, 7.5, words, 0.8, "en")])
    first, second = transcript.end()
    assert (first.text, second.text) == (words[:31], words[32:])
    assert first.start_s == 11.0
    assert second.start_s == pytest.approx(11.0 + 6.5 * 31 / len(words), abs=0.1)
    assert second.end_s == 17.5
    assert (second.confidence, second.language) == (0.8, "en")
