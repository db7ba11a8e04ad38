"""Where spoken questions end in a stream, and what is answered."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from encoder import MultiModalEncoder
from encoder.errors import InputError
from encoder.types import Utterance
from workers.listening.assistant import answer
from workers.listening.questions import RATE, Samples, Spoken, chunks, pcm_chunks, questions

PAUSE = int(0.8 * RATE)


def loud(samples: Samples) -> list[tuple[int, int]]:
    """Spans of sound with at most a short pause within."""
    places = np.flatnonzero(samples)
    if not len(places):
        return []
    gaps = np.flatnonzero(np.diff(places) > PAUSE)
    starts, ends = [0, *(gaps + 1)], [*gaps, len(places) - 1]
    found = [(int(places[a]), int(places[b]) + 1) for a, b in zip(starts, ends, strict=True)]
    last = len(samples)
    return [(a, b if b < last - PAUSE or (a, b) != found[-1] else last) for a, b in found]


def sound(*parts: tuple[float, float]) -> Samples:
    """Seconds of each loudness."""
    return np.concatenate([np.full(int(s * RATE), level, np.float32) for s, level in parts])


def test_a_question_ends_with_its_pause_and_none_is_lost() -> None:
    talk = sound((40, 0), (1.5, 0.25), (0.3, 0), (1, 0.25), (2, 0), (3, 0.5), (1.2, 0), (0.7, 0.1))
    found = list(questions(chunks(talk), loud))
    assert [one.start_s for one in found] == pytest.approx([40.0, 44.8, 49.0])
    assert [len(one.samples) / RATE for one in found] == pytest.approx([2.8, 3.0, 0.7])
    assert [one.samples[0] for one in found] == [0.25, 0.5, np.float32(0.1)]


def test_it_is_given_out_before_the_stream_ends() -> None:
    heard = questions(chunks(sound((1, 0.5), (1.5, 0), (9, 0))), loud)
    assert len(next(heard).samples) == RATE


def test_silence_is_not_kept() -> None:
    sizes = list[int]()

    def spans(samples: Samples) -> list[tuple[int, int]]:
        sizes.append(len(samples))
        return []

    assert list(questions(chunks(np.zeros(60 * RATE, np.float32)), spans)) == []
    assert max(sizes) == RATE


def test_raw_sound_is_read_in_any_parts() -> None:
    class Trickle(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            return super().read(3)

    raw = np.array([0, 16_384, -32_768, 1], "<i2").tobytes()
    found = np.concatenate(list(pcm_chunks(Trickle(raw))))
    assert found.tolist() == [0.0, 0.5, -1.0, 1 / 32_768]
    with pytest.raises(InputError, match="arecord -t raw"):
        list(pcm_chunks(io.BytesIO(b"RIFF....WAVE")))


def test_an_answer_has_its_words_and_the_time_of_each_stage() -> None:
    said = [Utterance(0.0, 1.0, "Where is it?", 0.9, "en"), Utterance(1.0, 2.0, "Now?", 0.5, "en")]
    encoder = cast(MultiModalEncoder, SimpleNamespace(transcribe=lambda _: said))
    asked = list[str]()

    def search(words: str) -> dict[str, Any]:
        asked.append(words)
        return {"hits": [], "latency_s": {"search": 0.5, "total": 1.0}}

    spoken = Spoken(np.zeros(2 * RATE, np.float32), 4.0)
    found = answer(spoken, encoder, search)
    assert found
    assert asked == [found["said"]] == ["Where is it? Now?"]
    assert (found["start_s"], found["end_s"], found["confidence"]) == (4.0, 6.0, 0.5)
    assert list(found["latency_s"]) == ["recognize", "search", "total"]
    assert found["latency_s"]["total"] == 1.0 + found["latency_s"]["recognize"]
    said.clear()
    assert answer(spoken, encoder, search) is None
