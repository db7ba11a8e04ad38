"""How much of a question a text holds, by the rarity of the words. Pure.

A word is worth its inverse document frequency as BM25 has it (Robertson and Spärck Jones, 1976), so
that the one word that a single text holds outweighs all function words, in any language.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.lexical.analysis import (
    beginning,
    can_be_misspelt,
    folded,
    holds_alike,
    is_spaced,
    starts,
    words,
)

_BEGINS = 0.5
"""What another word with the same beginning counts for: a form of it, or something else."""
_MISSPELT = 0.9
_N_LOOKED_AT = 8
"""Texts in which words are compared letter by letter."""
_QUOTED = re.compile(r'["“”„«»「」『』]([^"“”„«»「」『』]+)["“”„«»「」『』]')


class Frequencies(NamedTuple):
    """How many texts a store has, and how many of them hold each of some index terms."""

    n_texts: int = 0
    of: Mapping[str, int] = {}

    def rarity(self, term: str) -> float:
        """The inverse document frequency; that of a term in no text is the highest."""
        n = min(self.of.get(term, 0), self.n_texts)
        return math.log(1 + (self.n_texts - n + 0.5) / (n + 0.5))


def phrases(text: str) -> list[str]:
    """What is in quotes in a query.

    >>> phrases('the "night train" to „Bad Ischl“')
    ['night train', 'Bad Ischl']
    """
    return [match[1].strip() for match in _QUOTED.finditer(text)]


class _Word(NamedTuple):
    """A word, or a phrase in quotes: as it is in a folded text, and what it weighs."""

    text: str
    weight: float
    begins: str = ""
    is_unknown: bool = False
    is_bounded: bool = True


@dataclass(frozen=True)
class QueryWords:
    """The words of a question, weighed by their rarity in a library.

    Args:
        text: of the question. Words in quotes count as one, which a text holds in this order.
        frequencies: of the question's `search.lexical.analysis.terms`.
    """

    text: str
    frequencies: Frequencies

    @cached_property
    def _words(self) -> Sequence[_Word]:
        quoted = phrases(self.text)
        unquoted = _QUOTED.sub(" ", self.text) if quoted else self.text
        rarity = self.frequencies.rarity
        of_phrases = [(phrase, dict.fromkeys(words(phrase))) for phrase in quoted]
        return [
            *(_Word(_in_one_line(folded(p)), sum(map(rarity, of))) for p, of in of_phrases if of),
            *(self._word(word) for word in dict.fromkeys(words(unquoted))),
        ]

    def _word(self, word: str) -> _Word:
        begins = beginning(word)
        is_known = any(self.frequencies.of.get(term) for term in (word, begins))
        is_unknown = can_be_misspelt(word) and not is_known
        weight = self.frequencies.rarity(word)
        return _Word(word, weight, begins[:-1], is_unknown, is_spaced(word))

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Of each word, as parts of 1: [n_words]."""
        weights = np.array([word.weight for word in self._words])
        return np.asarray(weights / max(weights.sum(), 1e-9))

    def held(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """How far each text holds each word, 0 to 1: [len(texts), n_words].

        Words one edit away count in the first texts.
        """
        plain = [folded(text) for text in texts]
        if phrases(self.text):
            plain = list(map(_in_one_line, plain))
        columns = [
            [_part_of(word, text, index) for index, text in enumerate(plain)]
            for word in self._words
        ]
        return np.array(columns, np.float64).reshape(len(self._words), len(texts)).T


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _part_of(word: _Word, text: str, index: int) -> float:
    if word.text in text and not word.is_bounded:
        return 1.0
    if next(starts(text, word.text, is_whole=True), None) is not None:
        return 1.0
    if word.begins and next(starts(text, word.begins, is_whole=False), None) is not None:
        return _BEGINS
    if word.is_unknown and index < _N_LOOKED_AT and holds_alike(set(words(text)), word.text):
        return _MISSPELT
    return 0.0
