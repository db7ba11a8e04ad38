"""Where spoken questions end in a stream, and what is answered."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from time import perf_counter

import numpy as np
import pytest

from encoder.errors import InputError
from encoder.types import Utterance, Waveform
from search.listening import (
    RATE,
    Cutter,
    Listener,
    PcmReader,
    Samples,
    Spoken,
    chunks,
    pcm_chunks,
)

PAUSE_S = 0.8


def loud(samples: Samples, pause_s: float) -> list[tuple[int, int]]:
    """Spans of sound with at most a short pause within."""
    pause = int(pause_s * RATE)
    places = np.flatnonzero(samples)
    if not len(places):
        return []
    gaps = np.flatnonzero(np.diff(places) > pause)
    starts, ends = [0, *(gaps + 1)], [*gaps, len(places) - 1]
    found = [(int(places[a]), int(places[b]) + 1) for a, b in zip(starts, ends, strict=True)]
    last = len(samples)
    return [(a, b if b < last - pause or (a, b) != found[-1] else last) for a, b in found]


def sound(*parts: tuple[float, float]) -> Samples:
    """Seconds of each loudness."""
    return np.concatenate([np.full(int(s * RATE), level, np.float32) for s, level in parts])


def questions(samples: Samples) -> Iterator[Spoken]:
    """The spans of a stream as they are cut."""
    cutter = Cutter(loud, PAUSE_S)
    for chunk in chunks(samples):
        yield from cutter.add(chunk)
    yield from cutter.end()


def test_a_question_ends_with_its_pause_and_none_is_lost() -> None:
    talk = sound((40, 0), (1.5, 0.25), (0.3, 0), (1, 0.25), (2, 0), (3, 0.5), (1.2, 0), (0.7, 0.1))
    found = list(questions(talk))
    assert [one.start_s for one in found] == pytest.approx([40.0, 44.8, 49.0])
    assert [len(one.samples) / RATE for one in found] == pytest.approx([2.8, 3.0, 0.7])
    assert [one.samples[0] for one in found] == [0.25, 0.5, np.float32(0.1)]


def test_it_is_given_out_before_the_stream_ends() -> None:
    heard = questions(sound((1, 0.5), (1.5, 0), (9, 0)))
    assert len(next(heard).samples) == RATE


def test_silence_is_not_kept() -> None:
    sizes = list[int]()

    def spans(samples: Samples, _pause_s: float) -> list[tuple[int, int]]:
        sizes.append(len(samples))
        return []

    cutter = Cutter(spans, PAUSE_S)
    for chunk in chunks(np.zeros(60 * RATE, np.float32)):
        assert cutter.add(chunk) == []
        assert cutter.open() is None
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


def test_words_are_there_when_the_pause_has_lasted() -> None:
    heard = list[Samples]()

    def transcribe(sound: Waveform) -> list[Utterance]:
        heard.append(sound.samples)
        return [Utterance(0.0, 1.0, f"{len(heard)}", 0.9, "en"), Utterance(1.0, 2.0, "", 0.5, "en")]

    listener = Listener(loud, transcribe, pause_s=1.2)
    talk = sound((1, 0), (2, 0.5), (0.5, 0), (1, 0.25), (2, 0))
    steps = [(listener.add(chunk), len(heard)) for chunk in chunks(talk)]
    # once in the pause within, once in the pause behind, and not again when that has lasted
    assert [n_heard for _, n_heard in steps] == [0] * 6 + [1] * 2 + [1] + [2] * 4
    ((said,),) = [said for said, _ in steps if said]
    assert (said.text, said.confidence) == ("2 ", 0.5)
    assert (said.start_s, said.end_s) == (1.0, 4.5)
    assert steps.index(([said], 2)) == 11
    assert 0 < said.ended <= perf_counter()
    assert len(heard[-1]) == 3.5 * RATE
    assert listener.end() == []


def test_the_words_so_far_change_after_each_second_of_speech() -> None:
    lengths = list[float]()

    def transcribe(sound: Waveform) -> list[Utterance]:
        lengths.append(sound.duration_s)
        return [Utterance(0.0, 1.0, f"{sound.duration_s:g} s")]

    listener = Listener(loud, transcribe, PAUSE_S)
    shown = list[str]()
    for chunk in chunks(sound((1, 0), (2.5, 0.5))):
        assert listener.add(chunk) == []
        shown.append(listener.partial())
    assert shown == ["", "", "0.5 s", "0.5 s", "1.5 s", "1.5 s", "2.5 s"]
    (said,) = listener.end()
    assert said.text == "2.5 s"
    assert lengths == [0.5, 1.5, 2.5]


def test_what_has_no_words_is_not_said() -> None:
    listener = Listener(loud, lambda _: [], PAUSE_S)
    assert [listener.add(chunk) for chunk in chunks(sound((1, 0.5), (2, 0)))] == [[]] * 6
    assert listener.end() == []


def test_what_was_written_in_the_last_pause_is_not_written_again_at_the_end() -> None:
    heard = list[float]()

    def transcribe(sound: Waveform) -> list[Utterance]:
        heard.append(sound.duration_s)
        return [Utterance(0.0, 1.0, "words")]

    for parts in ([sound((1, 0), (2, 0.5), (0.6, 0))], chunks(sound((1, 0), (2, 0.5), (0.6, 0)))):
        listener = Listener(loud, transcribe, PAUSE_S)
        assert [said for part in parts for said in listener.add(part)] == []
        (said,) = listener.end()
        assert (said.text, said.start_s, said.end_s) == ("words", 1.0, 3.0)
    assert heard == [2.0, 2.0]
