"""The part of a text that answers a query, with the words that match. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from search.lexical.analysis import starts

SNIPPET_CHARS = 240

# Chinese and Japanese write no spaces: each of their characters counts as a word.
_SIGN = r"[\u3040-\u30ff\u3400-\u9fff]"
_LETTER = r"[^\W\u3040-\u30ff\u3400-\u9fff]"
_OTHER_LETTER = re.compile(r"[^\W\x00-\x7f]")  # other than those of English
_WORD = re.compile(rf"{_SIGN}|(?<!{_LETTER}){_LETTER}+")
_FEWEST_BEFORE_ENDING = 3
_ENDING = re.compile(rf"(?<=\w{{{_FEWEST_BEFORE_ENDING}}})(?:ies|es|s|ed|ing|ly|y|e)$")
_FUNCTION_WORDS = frozenset(
    "a an and are as at be but by for from had has have he her his i in into is it its me my no "
    "not of on or our she so than that the their them they this to was we were what when where "
    "which who will with you your".split()
)


@dataclass(frozen=True)
class Snippet:
    """A piece of text, and the ranges ``[start, end)`` in it of the words that match."""

    text: str
    matches: tuple[tuple[int, int], ...] = ()


class _Word(NamedTuple):
    start: int
    end: int
    stem: str


def snippet(text: str, queries: Iterable[str], max_chars: int = SNIPPET_CHARS) -> Snippet:
    """The window of a text with most of the queries' words.

    Words are compared without case, accents and the usual endings of English; function words
    count only where a query has no others. A word that is rare in the text weighs more than a
    frequent one, and counts once in a window. Where nothing matches, the text's beginning is
    taken.

    Args:
        text: of a segment.
        queries: the texts that are searched for.
        max_chars: the longest window, without the marks of what was left out.

    >>> snippet("The ferry leaves at nine, and the harbour sleeps.", ["ferries"], 20)
    Snippet(text='The ferry leaves at…', matches=((4, 9),))
    """
    if not text:
        return Snippet("")
    matching = _matches(text, _wanted(tuple(queries)))
    start, end = _window(text, matching, max_chars)
    head, tail = "…" if start else "", "…" if end < len(text) else ""
    shift = len(head) - start
    inside = [word for word in matching if word.start >= start and word.end <= end]
    ranges = tuple((word.start + shift, word.end + shift) for word in inside)
    return Snippet(head + text[start:end] + tail, ranges)


def stems_in(text: str, queries: Iterable[str]) -> set[str]:
    """The stems of the words that `snippet` would mark in a text."""
    return {word.stem for word in _matches(text, _wanted(tuple(queries)))}


@lru_cache(64)  # all hits of a query ask for the same
def _wanted(queries: tuple[str, ...]) -> Collection[str]:
    """The stems of the words that count."""
    words = {match[0].casefold() for query in queries for match in _WORD.finditer(query)}
    return {stem for word in words - _FUNCTION_WORDS or words if (stem := _stem(word))}


def _matches(text: str, stems: Collection[str]) -> list[_Word]:
    """The words of a text whose stem is wanted."""
    words = (_Word(start, end, _stem(text[start:end])) for start, end in _candidates(text, stems))
    return [word for word in words if word.stem in stems]


def _candidates(text: str, stems: Collection[str]) -> Iterable[tuple[int, int]]:
    """Where words are that can match: a word begins with its stem, unless accents were removed."""
    if not text.isascii() and _OTHER_LETTER.search(text):
        firsts = {stem[0] for stem in stems}
        spans = map(re.Match.span, _WORD.finditer(text))
        return (span for span in spans if _bare(text[span[0]])[:1] in firsts)
    lowered = text.lower()
    places = {
        start
        for stem in stems
        for start in starts(lowered, stem, is_whole=len(stem) < _FEWEST_BEFORE_ENDING)
    }
    words = (_WORD.match(text, start) for start in sorted(places))
    return (word.span() for word in words if word)


@lru_cache(10_000)
def _stem(word: str) -> str:
    return _ENDING.sub("", _bare(word))


@lru_cache(10_000)
def _bare(word: str) -> str:
    """Without case and accents."""
    letters = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _window(text: str, matching: Sequence[_Word], max_chars: int) -> tuple[int, int]:
    """Where to cut: between words, unless a single word is longer than the window."""
    if len(text) <= max_chars:
        return 0, len(text)
    first, last = _best_span(matching, max_chars)
    # A third of what is left over goes before the first match: people read on from it.
    earliest = max(0, min(first - (max_chars - (last - first)) // 3, len(text) - max_chars))
    word = _WORD.search(text, earliest) if earliest else None
    start = min(word.start(), first) if word else min(earliest, first)
    if len(text) <= start + max_chars:
        return start, len(text)
    ends = [word.end() for word in _WORD.finditer(text, last, start + max_chars + 1)]
    fitting = [end for end in ends if end <= start + max_chars]
    return start, max(fitting, default=max(last, start + max_chars) if first == last else last)


def _best_span(matching: Sequence[_Word], max_chars: int) -> tuple[int, int]:
    """Of all spans of matches that fit, the one whose distinct words weigh most; the first wins."""
    frequency = Counter(word.stem for word in matching)
    inside = Counter[str]()
    best, best_weight, weight, first = (0, 0), 0.0, 0.0, 0
    for word in matching:
        inside[word.stem] += 1
        weight += (inside[word.stem] == 1) / frequency[word.stem]
        while word.end - matching[first].start > max_chars and matching[first] is not word:
            inside[matching[first].stem] -= 1
            weight -= (inside[matching[first].stem] == 0) / frequency[matching[first].stem]
            first += 1
        if weight > best_weight + 1e-9 and word.end - word.start <= max_chars:
            best, best_weight = (matching[first].start, word.end), weight
    return best
