"""A text as comparable words, whatever its language. Pure.

Case is ignored, accents of Latin, Greek and Cyrillic letters are dropped, and forms that differ
only in appearance (full width, ligatures) are unified. There is no list of stop words, since the
language is not known; words that are everywhere weigh little in BM25. Chinese, Japanese, Thai, Lao,
Burmese and Khmer write no spaces: each character and each pair of neighbours is a word, which finds
more than a segmenter's words.

A word of five letters or more is also found by its beginning, as are its other forms and German
compounds. Together with whole words, this found more than Snowball's stems, for any language.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from functools import cache, lru_cache
from itertools import chain
from operator import add

_MAX_WORD_CHARS = 64
_BEGINNING_CHARS = 5
_MARK = "X"  # words have no capitals, and no tokenizer of a store cuts it off
_DIGIT = re.compile(r"\d")
_ASCII_WORDS = "".join(chr(code) if chr(code).isalnum() else " " for code in range(128))
"""A table for `str.translate`, three times as fast as the pattern."""
_ACCENTS = re.compile("[\u0300-\u036f]")
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_RUN = re.compile(f"[{_UNSPACED}]")
_RUN_OR_WORD = re.compile(f"([{_UNSPACED}]+)|([^\\s{_UNSPACED}]+)")
# Between them are ideographs, syllables of Hangul, surrogates and private characters, no marks;
# looking up each code point would cost a process a tenth of a second before its first search.
_PLACES_OF_MARKS = (
    range(0x300, 0x3400),
    range(0xA000, 0xAC00),
    range(0xFB00, 0x12000),
    range(0x13400, 0x13500),
    range(0x16000, 0x17000),
    range(0x1B000, 0x1F000),
    range(0xE0000, 0xE1000),
)


def words(text: str) -> list[str]:
    """The words of a text, in order.

    >>> words("Le CAFÉ n°2, à Zürich")
    ['le', 'cafe', 'n', '2', 'a', 'zurich']
    >>> words("東京都")
    ['東', '東京', '京', '京都', '都']
    """
    plain = folded(text)
    if plain.isascii():
        return [word[:_MAX_WORD_CHARS] for word in plain.translate(_ASCII_WORDS).split()]
    chars = {*plain}
    for char in filter(_separates, chars):
        plain = plain.replace(char, " ")
    if not _RUN.search("".join(chars)):
        return [word[:_MAX_WORD_CHARS] for word in plain.split()]
    text_words: list[str] = []
    for run, word in _RUN_OR_WORD.findall(plain):
        if run:
            overlapping = [""] * (2 * len(run) - 1)
            overlapping[::2], overlapping[1::2] = run, map(add, run, run[1:])
            text_words += overlapping
        else:
            text_words.append(word[:_MAX_WORD_CHARS])
    return text_words


def terms(text: str) -> list[str]:
    """The index terms of a text: its words, and the stems of inflected ones.

    >>> terms("Fahrkarten für 2026")
    ['fahrkarten', 'fur', '2026', 'fahrkX']
    """
    text_words = words(text)
    beginnings = [beginning(word) for word in text_words if len(word) >= _BEGINNING_CHARS]
    return [*text_words, *filter(None, beginnings)]


def holds(text: str, query_terms: Collection[str]) -> bool:
    """Whether one of these terms is among those of a text; much faster than listing them.

    >>> holds("Le CAFÉ n°2", ["tea", "cafe"]), holds("cafeteria", ["cafe"])
    (True, False)
    >>> holds("Fahrkarten", terms("Fahrkarte"))
    True
    """
    plain = folded(text)
    if _is_plain(plain) and max(map(len, query_terms), default=0) < _MAX_WORD_CHARS:
        return bool(query_terms) and _any_of(frozenset(query_terms)).search(plain) is not None
    return not set(query_terms).isdisjoint(terms(text))


def starts(text: str, word: str, *, is_whole: bool) -> Iterator[int]:
    """Where a word of a folded text is this one, or begins with it; many times faster than `re`.

    >>> list(starts("a rain, rainy terrain", "rain", is_whole=False))
    [2, 8]
    """
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        goes_on = is_whole and text[end : end + 1].isalnum()
        if not goes_on and not (at and text[at - 1].isalnum()):
            yield at
        at = text.find(word, at + 1)


@lru_cache(16_384)
def beginning(word: str) -> str:
    """The index term of all words that begin like this one; empty if it is too short.

    >>> beginning("fahrkarten"), beginning("2026")
    ('fahrkX', '')
    """
    return word[:_BEGINNING_CHARS] + _MARK if can_be_misspelt(word) else ""


def is_spaced(word: str) -> bool:
    """Whether the word is of a language that writes spaces: elsewhere words run into each other.

    >>> is_spaced("night"), is_spaced("北京")
    (True, False)
    """
    return word.isascii() or not _RUN.match(word)


def can_be_misspelt(word: str) -> bool:
    """Whether a word is long enough for those one edit away to be meant by it; no number is."""
    return len(word) >= _BEGINNING_CHARS and not _DIGIT.search(word)


def holds_alike(text_words: Collection[str], word: str) -> bool:
    """Whether one letter more, less, or different, or two swapped ones, make a word one of these.

    >>> [holds_alike([held], "invoice") for held in ("invioce", "invoce", "invoices", "invite")]
    [True, True, True, False]
    """
    # An edit leaves the first half as it is, or all after the letter behind it.
    half = len(word) // 2
    head, tail = word[:half], word[half + 1 :]
    joined = "\n".join(text_words)
    if head not in joined and tail not in joined:
        return False
    near = [other for other in text_words if other.startswith(head) or other.endswith(tail)]
    return any(_is_one_edit_away(word, other) for other in near)


def _is_one_edit_away(word: str, other: str) -> bool:
    pairs = enumerate(zip(word, other, strict=False))
    same = next((at for at, (one, two) in pairs if one != two), min(len(word), len(other)))
    word, other = word[same:], other[same:]
    swapped = word[:2] == other[:2][::-1] and word[2:] == other[2:]
    return word[1:] == other[1:] or word[1:] == other or word == other[1:] or swapped


@lru_cache(64)
def _any_of(query_terms: frozenset[str]) -> re.Pattern[str]:
    patterns = (  # a beginning matches words without digits
        rf"{re.escape(word[: -len(_MARK)])}[^\W\d_]*" if word.endswith(_MARK) else re.escape(word)
        for word in sorted(query_terms)
    )
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(patterns)})(?![^\W_])")


def folded(text: str) -> str:
    """A text without case, accents, and forms that differ only in appearance."""
    lowered = text.casefold()
    if text.isascii():
        return lowered
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", lowered))
    return unicodedata.normalize("NFC", bare).casefold()


def _is_plain(text: str) -> bool:
    """Whether `re` finds the words of this folded text."""
    return text.isascii() or not _special().search("".join(set(text)))


@lru_cache(1024)
def _separates(char: str) -> bool:
    """Whether no word holds this character."""
    return not (char.isalnum() or _special().match(char))


@cache
def _special() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}{_marks()}]")


@cache
def _marks() -> str:
    """All marks, as ranges for a pattern."""
    places = chain(*_PLACES_OF_MARKS)
    marks = [code for code in places if unicodedata.category(chr(code))[0] == "M"]
    inside = set(marks)
    ends = [code for code in marks if code + 1 not in inside]
    starts = [code for code in marks if code - 1 not in inside]
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(starts, ends, strict=True))
