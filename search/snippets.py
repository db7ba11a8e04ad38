"""The part of a text that answers a query, with the words that match. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

SNIPPET_CHARS = 240

# Chinese and Japanese write no blanks: each of their characters counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
_ENDING = re.compile(r"(?<=\w{3})(?:ies|es|s|ed|ing|ly|y|e)$")
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


@dataclass(frozen=True)
class _Word:
    start: int
    end: int
    stem: str


def snippet(text: str, queries: Iterable[str], max_chars: int = SNIPPET_CHARS) -> Snippet:
    """The window of a text in which most of the queries' words stand.

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
    wanted = _wanted(queries)
    words = list(_words(text))
    found = [word for word in words if word.stem in wanted]
    start, end = _window(len(text), words, found, max_chars)
    head, tail = "…" if start else "", "…" if end < len(text) else ""
    shift = len(head) - start
    inside = [word for word in found if word.start >= start and word.end <= end]
    ranges = tuple((word.start + shift, word.end + shift) for word in inside)
    return Snippet(head + text[start:end] + tail, ranges)


def _wanted(queries: Iterable[str]) -> Collection[str]:
    """The stems of the words that count."""
    words = {match[0].casefold() for query in queries for match in _WORD.finditer(query)}
    return {_stem(word) for word in words - _FUNCTION_WORDS or words}


def _words(text: str) -> Iterator[_Word]:
    for match in _WORD.finditer(text):
        yield _Word(match.start(), match.end(), _stem(match[0]))


def _stem(word: str) -> str:
    letters = unicodedata.normalize("NFKD", word.casefold())
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return _ENDING.sub("", bare)


def _window(
    n_chars: int, words: Sequence[_Word], found: Sequence[_Word], max_chars: int
) -> tuple[int, int]:
    """Where to cut: between words, unless a single word is longer than the window."""
    if n_chars <= max_chars:
        return 0, n_chars
    first, last = _best_span(found, max_chars)
    # A third of what is left over goes before the first match: people read on from it.
    earliest = max(0, min(first - (max_chars - (last - first)) // 3, n_chars - max_chars))
    starts = [word.start for word in words if earliest <= word.start <= first]
    start = 0 if earliest == 0 else min(starts, default=first)
    ends = [word.end for word in words if last <= word.end <= start + max_chars]
    if n_chars <= start + max_chars:
        return start, n_chars
    return start, max(ends, default=max(last, min(n_chars, start + max_chars)))


def _best_span(found: Sequence[_Word], max_chars: int) -> tuple[int, int]:
    """Of all spans of matches that fit, the one whose distinct words weigh most; the first wins."""
    frequency = Counter(word.stem for word in found)
    inside = Counter[str]()
    best, best_weight, weight, first = (0, 0), 0.0, 0.0, 0
    for word in found:
        inside[word.stem] += 1
        weight += (inside[word.stem] == 1) / frequency[word.stem]
        while word.end - found[first].start > max_chars and found[first] is not word:
            inside[found[first].stem] -= 1
            weight -= (inside[found[first].stem] == 0) / frequency[found[first].stem]
            first += 1
        if weight > best_weight + 1e-9 and word.end - word.start <= max_chars:
            best, best_weight = (found[first].start, word.end), weight
    return best
