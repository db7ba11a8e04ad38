"""Queries drawn from texts, and the ratio of paired measurements. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

_WORDS, _LETTERS = (2, 6), (4, 9)
_MISSPELT_EVERY = 10
_LEAST = 4
"""Letters of a word that is misspelt."""


@dataclass(frozen=True)
class Ratio:
    """A ratio of sums, and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.error:.3f}"


def ratio(before: Sequence[float], after: Sequence[float]) -> Ratio:
    """All of ``after`` over all of ``before``, pair by pair the same work.

    The error is that of the ratio estimator of paired samples (Cochran 1977, section 6.4): what two
    measurements of a pair have in common does not count.

    Raises:
        ValueError: fewer than two pairs, or their numbers differ.

    >>> ratio([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    Ratio(value=2.0, error=0.0)
    >>> str(ratio([1.0, 1.0, 1.0, 1.0], [0.9, 1.1, 0.9, 1.1]))
    '1.000 ± 0.058'
    """
    n = len(before)
    if n < 2 or n != len(after):
        raise ValueError(f"{n} and {len(after)} measurements are no pairs")
    value = sum(after) / sum(before)
    residuals = [b - value * a for a, b in zip(before, after, strict=True)]
    spread = sqrt(sum(residual**2 for residual in residuals) / (n - 1))
    return Ratio(value, spread / sqrt(n) / (sum(before) / n))


def drawn(texts: Sequence[str], seed: int = 0) -> Iterator[str]:
    """Queries without end, none twice: a few words in a row of a text, a tenth with a misspelling.

    Where words have no blanks between them, a few letters in a row are taken.

    >>> text = "The ferry leaves the harbour at nine and comes back before midnight"
    >>> queries = drawn([text])
    >>> first = [next(queries) for _ in range(30)]
    >>> len(set(first)), sum(query not in text for query in first)
    (30, 3)
    >>> 4 <= len(next(drawn(["渡轮九点离开港口并在午夜之前返回"]))) <= 9
    True
    """
    rng, given = random.Random(seed), set[str]()
    while True:
        text = rng.choice(texts)
        units = text.split()
        has_words = len(units) > 1 and len(text) / len(units) < 20
        units, joint, sizes = (units, " ", _WORDS) if has_words else (list(text), "", _LETTERS)
        size = min(rng.randint(*sizes), len(units))
        start = rng.randrange(len(units) - size + 1)
        query = joint.join(units[start : start + size])
        if len(given) % _MISSPELT_EVERY == _MISSPELT_EVERY - 1:
            query = misspelt(query, rng)
        if query and query not in given:
            given.add(query)
            yield query


def misspelt(query: str, rng: random.Random) -> str:
    """The query with two neighbours swapped, or a letter left out, in its longest word.

    It is empty if no word is long enough to be misspelt.

    >>> sorted({misspelt("a harbour", random.Random(seed)) for seed in range(40)})[:3]
    ['a ahrbour', 'a arbour', 'a habour']
    >>> misspelt("at six", random.Random(0))
    ''
    """
    words = query.split()
    place = max(range(len(words)), key=lambda number: len(words[number]), default=0)
    word = words[place] if words else ""
    if len(word) < _LEAST:
        return ""
    at = rng.randrange(len(word) - 1)
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    left_out = word[:at] + word[at + 1 :]
    new = rng.choice([other for other in (swapped, left_out) if other != word])
    return " ".join([*words[:place], new, *words[place + 1 :]])
