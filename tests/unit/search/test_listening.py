"""Where spoken questions end in a stream, and what is answered."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest

from encoder.errors import InputError
from encoder.types import Utterance, Waveform
from search.listening import RATE, PcmReader, Samples, Spoken, answer, chunks, pcm_chunks, questions

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


def wav(samples: bytes, *, rate: int = RATE, size: int | None = None, more: bytes = b"") -> bytes:
    """A WAV file as ffmpeg writes it, with words before the sound."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    words = struct.pack("<4sI", b"LIST", 3) + b"abc\0"
    head = struct.pack("<4sI", b"data", len(samples) if size is None else size)
    return b"RIFF\xff\xff\xff\xffWAVE" + form + words + head + samples + more


RAW = np.array([0, 16_384, -32_768, 1], "<i2").tobytes()


@pytest.mark.parametrize(
    "data",
    [
        RAW,
        wav(RAW),
        wav(RAW, more=b"LIST\4\0\0\0ISFT"),
        wav(RAW, size=0),
        wav(RAW, size=2**31),
    ],
    ids=["raw", "wav", "words behind", "no length", "too long a length"],
)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_wav_files_sound_is_read_in_any_parts(data: bytes, step: int) -> None:
    reader = PcmReader()
    parts = [reader.add(data[at : at + step]) for at in range(0, len(data), step)]
    assert np.concatenate(parts).tolist() == [0.0, 0.5, -1.0, 1 / 32_768]


def test_other_sound_is_refused_and_kept() -> None:
    reader = PcmReader()
    other = wav(RAW, rate=44_100)
    reader.add(other[:20])
    with pytest.raises(InputError, match="44,100 Hz"):
        reader.add(other[20:])
    assert reader.rest == other
    with pytest.raises(InputError, match="without the head of a WAV file"):
        PcmReader(raw=False).add(b"OggS")
    with pytest.raises(InputError, match="arecord -f S16_LE"):
        list(pcm_chunks(io.BytesIO(other)))
    with pytest.raises(InputError, match="without sound"):
        PcmReader().add(b"RIFF0000WAVE" + struct.pack("<4sI", b"LIST", 2**30) + bytes(70_000))


def test_an_answer_has_its_words_and_the_time_of_each_stage() -> None:
    said = [Utterance(0.0, 1.0, "Where is it?", 0.9, "en"), Utterance(1.0, 2.0, "Now?", 0.5, "en")]

    def transcribe(_sound: Waveform) -> list[Utterance]:
        return said

    asked = list[str]()

    def search(words: str) -> dict[str, Any]:
        asked.append(words)
        return {"hits": [], "latency_s": {"search": 0.5, "total": 1.0}}

    spoken = Spoken(np.zeros(2 * RATE, np.float32), 4.0)
    found = answer(spoken, transcribe, search)
    assert found
    assert asked == [found["said"]] == ["Where is it? Now?"]
    assert (found["start_s"], found["end_s"], found["confidence"]) == (4.0, 6.0, 0.5)
    assert list(found["latency_s"]) == ["recognize", "search", "total"]
    assert found["latency_s"]["total"] == 1.0 + found["latency_s"]["recognize"]
    said.clear()
    assert answer(spoken, transcribe, search) is None
