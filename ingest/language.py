"""Detect the language of a text."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

SAMPLE_CHARS = 4000
"""More text does not improve the guess."""

# About a sentence: shorter texts and lower scores are guesses.
_LEAST_LETTER_BYTES = 30
_LEAST_SURE = 0.75
_NO_LANGUAGE = "zxx"


def language_of(text: str) -> str:
    """The ISO 639-1 code; empty for a text that is too short, mixed or not a language.

    Among 97 languages, by their letters (Lui and Baldwin 2012). Takes 76 MB once in a process.

    >>> language_of("The ferry to the islands leaves at nine in the morning.")
    'en'
    >>> language_of("12:30, 14:45")
    ''
    """
    sample = text[:SAMPLE_CHARS]
    # A Chinese character has three bytes and says as much as three English letters.
    if sum(len(letter.encode(errors="replace")) for letter in sample if letter.isalpha()) < (
        _LEAST_LETTER_BYTES
    ):
        return ""
    language, sure = _identifier().classify(sample)
    return language if sure >= _LEAST_SURE and language != _NO_LANGUAGE else ""


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
