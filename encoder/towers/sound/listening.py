"""What is said in sounds, told to those who ask while the sounds are encoded.

An audio tower hears the words of a sound to embed it; hearing them once more costs as much as all
the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from encoder.types import Utterance

Heard = list[list[Utterance]]
"""For each sound the spans in which somebody speaks; without text where the words are unsure."""

_heard: ContextVar[Heard | None] = ContextVar("heard", default=None)


@contextmanager
def listening(wanted: bool = True) -> Iterator[Heard]:
    """Collect what the audio towers of this context hear, one list a sound, in their order.

    Empty for models that hear no words, whatever they encode.

    Args:
        wanted: False for nothing.
    """
    heard: Heard = []
    token = _heard.set(heard if wanted else None)
    try:
        yield heard
    finally:
        _heard.reset(token)


def is_listening() -> bool:
    """Whether somebody asks."""
    return _heard.get() is not None


def tell(spans: Sequence[Utterance]) -> None:
    """Pass what is said in the next sound to the innermost `listening`, if there is one."""
    if (heard := _heard.get()) is not None:
        heard.append(list(spans))
