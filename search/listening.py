"""Sound as it arrives, cut at pauses in speech."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError
from encoder.types import Utterance, Waveform

RATE = 16_000
CHUNK_S = 0.5

Samples = NDArray[np.float32]
Spans = Callable[[Samples], Sequence[tuple[int, int]]]
"""Where somebody speaks, as first and last sample: `encoder.services.speech.speech_spans`."""


class Spoken(NamedTuple):
    """What was said between two pauses.

    Args:
        samples: mono sound at `RATE`, float32 [n].
        start_s: when it began, from the beginning of the stream.
    """

    samples: Samples
    start_s: float


class Cutter:
    """Cuts a stream. Holds the current speech or the last half second, however long nobody speaks.

    Args:
        spans: finds speech; a span that may go on ends with the last sample.
    """

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._held = np.zeros(0, np.float32)
        self._before = 0

    def add(self, samples: Samples) -> list[Spoken]:
        """Speech that has ended with this part: each span once the pause after it is known.

        Args:
            samples: of any length, float32 [n].
        """
        waiting = np.concatenate([self._held, samples])
        spans = self._spans(waiting)
        done = [(start, end) for start, end in spans if end < len(waiting)]
        ended = self._cut(waiting, done)
        keep = len(waiting) - int(CHUNK_S * RATE)
        used = done[-1][1] if done else 0
        used = max(used, spans[-1][0] if len(spans) > len(done) else keep)
        self._held, self._before = waiting[used:], self._before + used
        return ended

    def end(self) -> list[Spoken]:
        """What is left at the end of the stream."""
        return self._cut(self._held, self._spans(self._held))

    def _cut(self, waiting: Samples, spans: Sequence[tuple[int, int]]) -> list[Spoken]:
        return [Spoken(waiting[start:end], (self._before + start) / RATE) for start, end in spans]


def chunks(samples: Samples) -> Iterator[Samples]:
    """A whole sound at `RATE`, in parts as if it arrived now."""
    size = int(CHUNK_S * RATE)
    yield from (samples[start : start + size] for start in range(0, len(samples), size))


def questions(sound: Iterable[Samples], spans: Spans) -> Iterator[Spoken]:
    """Each span of speech, as soon as the pause after it is known; the last one at the end."""
    cutter = Cutter(spans)
    for samples in sound:
        yield from cutter.add(samples)
    yield from cutter.end()


_BYTES = 2
CHUNK_BYTES = int(CHUNK_S * RATE) * _BYTES
"""Half a second of sound."""

_PCM, _EXTENSIBLE = 1, 0xFFFE
_MAX_HEAD_BYTES = 64 * 1024
_NAME_BYTES = 8  # of a chunk, with its size
_RIFF_BYTES = 12
_FORMAT_BYTES = 16


class PcmReader:
    """Signed 16-bit little-endian mono sound at `RATE`, raw or after the header of a WAV file.

    Args:
        raw: the sound may come without such a header.
    """

    def __init__(self, *, raw: bool = True) -> None:
        self._raw = raw
        self._began = False
        self._n_left: int | None = None
        self.rest = b""
        """Bytes that were not taken yet; all of them if `add` refuses the sound."""

    def add(self, data: bytes) -> Samples:
        """The samples that are complete now, float32 [n]."""
        self.rest += data
        if not self._began and not self._begin():
            return np.zeros(0, np.float32)
        whole = len(self.rest) // _BYTES * _BYTES
        taken, self.rest = self.rest[:whole], self.rest[whole:]
        if self._n_left is not None:  # a WAV file may have metadata after its sound
            taken = taken[: self._n_left]
            self._n_left -= len(taken)
        return np.frombuffer(taken, "<i2").astype(np.float32) / np.float32(32_768)

    def _begin(self) -> bool:
        """Whether the header has been read, or there is none."""
        if len(self.rest) < len(b"RIFF"):
            return False
        if self.rest.startswith(b"RIFF"):
            sound_range = sound_in(self.rest)
            if sound_range is None:
                return False
            start, self._n_left = sound_range
            self.rest = self.rest[start:]
        elif not self._raw:
            raise _other("bytes without the head of a WAV file")
        self._began = True
        return True


def sound_in(head: bytes) -> tuple[int, int | None] | None:
    """Where a WAV file's samples begin and how many bytes they have; None while more is needed.

    A file that is written during a recording states no length, or one that is too large.
    """
    at = _RIFF_BYTES
    while len(head) >= at + _NAME_BYTES:
        name, size = struct.unpack_from("<4sI", head, at)
        at += _NAME_BYTES
        if name == b"data":
            return at, size or None
        if name == b"fmt " and len(head) >= at + _FORMAT_BYTES:
            code, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", head, at)
            if (channels, rate, bits) != (1, RATE, 16) or code not in (_PCM, _EXTENSIBLE):
                raise _other(f"a WAV file of {channels} channels, {bits} bits and {rate:,} Hz")
        at += size + size % 2
    if len(head) > _MAX_HEAD_BYTES:
        raise _other("a WAV file without sound")
    return None


def pcm_chunks(stream: BinaryIO) -> Iterator[Samples]:
    """Half seconds of such sound from a pipe."""
    reader = PcmReader()
    while data := stream.read(CHUNK_BYTES):
        yield reader.add(data)


def _other(got: str) -> InputError:
    wanted = "signed 16-bit mono sound at 16,000 Hz: arecord -f S16_LE -r 16000, ffmpeg -f s16le"
    return InputError("sound", got=got, wanted=wanted)


Search: TypeAlias = Callable[[str], dict[str, Any]]
"""Turns words into a result in plain values, as `anymodal search --json` prints it."""
Transcribe: TypeAlias = Callable[[Waveform], Sequence[Utterance]]
"""`encoder.services.speech.Speech.transcribe`, with the role of a query."""


class Said(NamedTuple):
    """The words of a span of speech.

    Args:
        text: the words.
        language: a two-letter code, see `encoder.types.Utterance`.
        confidence: that of the least certain part.
        start_s: when it began, from the beginning of the stream.
        end_s: when it ended.
        recognize_s: how long recognition took.
    """

    text: str
    language: str
    confidence: float
    start_s: float
    end_s: float
    recognize_s: float


def recognized(spoken: Spoken, transcribe: Transcribe) -> Said | None:
    """What is said; None if no words were recognised."""
    started = perf_counter()
    heard = transcribe(Waveform(spoken.samples, RATE))
    if not heard:
        return None
    return Said(
        " ".join(utterance.text for utterance in heard),
        heard[0].language,
        min(utterance.confidence for utterance in heard),
        round(spoken.start_s, 2),
        round(spoken.start_s + len(spoken.samples) / RATE, 2),
        perf_counter() - started,
    )


def answer(spoken: Spoken, transcribe: Transcribe, search: Search) -> dict[str, Any] | None:
    """The result of a search for what is said, with ``utterance`` and ``latency_s.recognize``.

    None if no words were recognised.
    """
    utterance = recognized(spoken, transcribe)
    if utterance is None:
        return None
    result = search(utterance.text)
    return {
        "said": utterance.text,
        "language": utterance.language,
        "confidence": utterance.confidence,
        "start_s": utterance.start_s,
        "end_s": utterance.end_s,
        **result,
        "latency_s": _with(utterance.recognize_s, result["latency_s"]),
    }


def _with(recognize_s: float, latency_s: Mapping[str, float]) -> dict[str, float]:
    return {
        "recognize": recognize_s,
        **latency_s,
        "total": latency_s["total"] + recognize_s,
    }
