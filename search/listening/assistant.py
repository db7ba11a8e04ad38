"""From a spoken question to words to hits, each stage timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

from encoder.types import Utterance, Waveform
from search.listening.questions import RATE, Spoken

Search: TypeAlias = Callable[[str], dict[str, Any]]
"""Turns words into a result in plain values, as `anymodal search --json` prints it."""
Transcribe: TypeAlias = Callable[[Waveform], Sequence[Utterance]]
"""`encoder.MultiModalEncoder.transcribe`, with the role of a query."""


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
    """What is said; None if no words were recognised.

    Raises:
        ModelError: the model cannot recognise speech.
    """
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

    Raises:
        ModelError: the model cannot recognise speech.
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
