"""Sound as it arrives, cut at pauses in speech and written down."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import BinaryIO, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError
from encoder.types import Utterance, Waveform

RATE = 16_000
CHUNK_S = 0.5

Samples = NDArray[np.float32]
Spans = Callable[[Samples, float], Sequence[tuple[int, int]]]
"""Where somebody speaks, as first and last sample, and a pause of so many seconds ends a span:
`encoder.services.speech.speech_spans`."""

# Speech that pauses this long may be over: as long as it is padded, so that the span is the same.
_SHORT_PAUSE_S = 0.4
_PARTIAL_S = 1.0
_MAX_ARRIVALS = 64


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
        pause_s: the silence that ends a span.
    """

    def __init__(self, spans: Spans, pause_s: float) -> None:
        self._spans, self._pause_s = spans, pause_s
        self._held = np.zeros(0, np.float32)
        self._before = 0
        self._is_open = False

    def add(self, samples: Samples) -> list[Spoken]:
        """Speech that has ended with this part: each span once the pause after it is known.

        Args:
            samples: of any length, float32 [n].
        """
        waiting = np.concatenate([self._held, samples])
        spans = self._spans(waiting, self._pause_s)
        done = [(start, end) for start, end in spans if end < len(waiting)]
        ended = self._cut(waiting, done)
        keep = len(waiting) - int(CHUNK_S * RATE)
        used = done[-1][1] if done else 0
        self._is_open = len(spans) > len(done)
        used = max(used, spans[-1][0] if self._is_open else keep)
        self._held, self._before = waiting[used:], self._before + used
        return ended

    def open(self) -> Spoken | None:
        """The speech that may go on: to its end if it pauses, else as far as it goes."""
        spans = self._spans(self._held, _SHORT_PAUSE_S) if self._is_open else ()
        return self._cut(self._held, [(0, spans[-1][1])])[0] if spans else None

    def end(self) -> list[Spoken]:
        """What is left at the end of the stream: the sound that `open` gives while it lasts."""
        spoken = self.open()
        return [spoken] if spoken else []

    @property
    def n_samples(self) -> int:
        """How many have arrived."""
        return self._before + len(self._held)

    def _cut(self, waiting: Samples, spans: Sequence[tuple[int, int]]) -> list[Spoken]:
        return [Spoken(waiting[start:end], (self._before + start) / RATE) for start, end in spans]


def chunks(samples: Samples) -> Iterator[Samples]:
    """A whole sound at `RATE`, in parts as if it arrived now."""
    size = int(CHUNK_S * RATE)
    yield from (samples[start : start + size] for start in range(0, len(samples), size))


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


Transcribe: TypeAlias = Callable[[Waveform], Sequence[Utterance]]
"""`encoder.services.speech.Speech.transcribe`."""


class Said(NamedTuple):
    """The words of a span of speech.

    Args:
        text: the words.
        language: a two-letter code, see `encoder.types.Utterance`.
        confidence: that of the least certain part.
        start_s: when it began, from the beginning of the stream.
        end_s: when it ended.
        recognize_s: how long recognition took.
        ended: when it ended, by `time.perf_counter`.
    """

    text: str
    language: str
    confidence: float
    start_s: float
    end_s: float
    recognize_s: float
    ended: float = 0.0


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


class Listener:
    """Writes down each span of speech in a stream once a pause ends it.

    What may be all is written down in the first, short pause, so that its words are there when the
    pause has lasted. It is the same sound then, and they are the same words.
    """

    def __init__(self, spans: Spans, transcribe: Transcribe, pause_s: float) -> None:
        self._cutter = Cutter(spans, pause_s)
        self._transcribe = transcribe
        self._written: tuple[float, int, Said | None] = (-1.0, 0, None)
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=_MAX_ARRIVALS)

    def add(self, samples: Samples) -> list[Said]:
        """What was said in spans that have ended with this part."""
        spans = self._cutter.add(samples)
        self._arrivals.append((self._cutter.n_samples, perf_counter()))
        said = self._said(spans)
        spoken = self._cutter.open()
        if spoken and spoken.start_s * RATE + len(spoken.samples) < self._cutter.n_samples:
            self._write(spoken)
        return said

    def partial(self) -> str:
        """The words of the speech that may go on; written down anew after each second of it."""
        spoken = self._cutter.open()
        if spoken is None:
            return ""
        start_s, n_samples, said = self._written
        if start_s != spoken.start_s or len(spoken.samples) - n_samples >= _PARTIAL_S * RATE:
            said = self._write(spoken)
        return said.text if said else ""

    def end(self) -> list[Said]:
        """What was said last, at the end of the stream."""
        return self._said(self._cutter.end())

    def _said(self, spans: Sequence[Spoken]) -> list[Said]:
        written = [self._write(spoken) for spoken in spans]
        return [said._replace(ended=self._time_of(said.end_s)) for said in written if said]

    def _write(self, spoken: Spoken) -> Said | None:
        start_s, n_samples, said = self._written
        if (start_s, n_samples) != (spoken.start_s, len(spoken.samples)):
            said = recognized(spoken, self._transcribe)
            self._written = spoken.start_s, len(spoken.samples), said
        return said

    def _time_of(self, end_s: float) -> float:
        """When the sound at this second had arrived."""
        for n_samples, arrived in self._arrivals:
            if n_samples >= end_s * RATE:
                return arrived
        return perf_counter()
