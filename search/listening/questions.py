"""Sound as it arrives, cut at pauses in speech."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    """Each span of speech, as soon as the pause after it is known; the last one at the end.

    Args:
        sound: in parts of any length.
        spans: as for `Cutter`.
    """
    cutter = Cutter(spans)
    for samples in sound:
        yield from cutter.add(samples)
    yield from cutter.end()
