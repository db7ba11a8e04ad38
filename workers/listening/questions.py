"""Sound as it comes, cut where somebody pauses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError

RATE = 16_000
_CHUNK_S = 0.5
_BYTES = 2

Samples = NDArray[np.float32]
Spans = Callable[[Samples], Sequence[tuple[int, int]]]
"""Where somebody speaks, as first and last sample: `encoder.towers.sound.speech.speech_spans`."""


class Spoken(NamedTuple):
    """What was said between two pauses.

    Args:
        samples: mono sound at `RATE`, float32 [n].
        start_s: when it began, from the beginning of the stream.
    """

    samples: Samples
    start_s: float


def pcm_chunks(stream: BinaryIO) -> Iterator[Samples]:
    """Half seconds of raw signed 16-bit little-endian mono sound at `RATE`.

    Raises:
        InputError: a WAV file's header instead.
    """
    rest = b""
    while data := stream.read(int(_CHUNK_S * RATE) * _BYTES):
        if not rest and data.startswith(b"RIFF"):
            raise InputError(
                "-", got="a WAV file", wanted="raw sound: arecord -t raw, ffmpeg -f s16le"
            )
        data = rest + data
        whole = len(data) // _BYTES * _BYTES
        rest = data[whole:]
        yield np.frombuffer(data[:whole], "<i2").astype(np.float32) / np.float32(32_768)


def chunks(samples: Samples) -> Iterator[Samples]:
    """A whole sound at `RATE` as if it came now."""
    size = int(_CHUNK_S * RATE)
    yield from (samples[start : start + size] for start in range(0, len(samples), size))


def questions(sound: Iterable[Samples], spans: Spans) -> Iterator[Spoken]:
    """Each span of speech, as soon as the pause behind it is known; the last one at the end.

    Holds what is being said and half a second before, however long nobody speaks.

    Args:
        sound: in parts of any length.
        spans: finds speech; a span that may go on ends with the last sample.
    """
    held, before = np.zeros(0, np.float32), 0
    for part in sound:
        held = np.concatenate([held, part])
        found = spans(held)
        done = [(start, end) for start, end in found if end < len(held)]
        yield from _cut(held, before, done)
        keep = len(held) - int(_CHUNK_S * RATE)
        used = done[-1][1] if done else 0
        used = max(used, found[-1][0] if len(found) > len(done) else keep)
        held, before = held[used:], before + used
    yield from _cut(held, before, spans(held))


def _cut(held: Samples, before: int, found: Sequence[tuple[int, int]]) -> Iterator[Spoken]:
    yield from (Spoken(held[start:end], (before + start) / RATE) for start, end in found)
