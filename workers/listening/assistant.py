"""A spoken question to words to hits, each stage timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, TypeAlias

from encoder import MultiModalEncoder
from encoder.types import Waveform
from workers.listening.questions import RATE, Spoken

Search: TypeAlias = Callable[[str], dict[str, Any]]
"""Words to a result in plain values, as `anymodal search --json` prints it."""


def answer(spoken: Spoken, encoder: MultiModalEncoder, search: Search) -> dict[str, Any] | None:
    """The result of a search for what is said, with ``said`` and ``latency_s.recognize``.

    None where no words were recognised.

    Raises:
        ModelError: the model hears no words.
    """
    started = perf_counter()
    heard = encoder.transcribe(Waveform(spoken.samples, RATE))
    recognize_s = perf_counter() - started
    if not heard:
        return None
    words = " ".join(one.text for one in heard)
    said = {
        "said": words,
        "language": heard[0].language,
        "confidence": min(one.confidence for one in heard),
        "start_s": round(spoken.start_s, 2),
        "end_s": round(spoken.start_s + len(spoken.samples) / RATE, 2),
    }
    found = search(words)
    return {**said, **found, "latency_s": _with(recognize_s, found["latency_s"])}


def _with(recognize_s: float, latency_s: Mapping[str, float]) -> dict[str, float]:
    return {
        "recognize": recognize_s,
        **latency_s,
        "total": latency_s["total"] + recognize_s,
    }
