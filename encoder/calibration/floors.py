"""From scores of queries that mean nothing to the floor below which a match is weak. Pure.

Scores of unrelated pairs have no fixed upper end: the best of many grows with their number. The
best match of a query without meaning among a modality's vectors is what chance gives (like the
noise floor of a detector), and so no reason to show it.

Queries differ in what chance gives them, and a floor follows that through an inner product with
their embedding. A query that looks like one that means something has a lower floor, by Fisher's
linear discriminant between the shipped queries and those without meaning (Fisher 1936; its
covariances shrunk towards a multiple of the identity, Ledoit and Wolf 2004). A query that is close
to all texts, as letters are, has a higher floor among texts, by its mean score to the shipped
queries as passages.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from encoder.calibration.measure import SampleQuery, scores_of
from encoder.space import UNCALIBRATED, Calibration, Floor, Space
from encoder.types import TEXT, Embeddings, Modality

CHANCE = 0.03
"""The share of queries without meaning for which a modality may have a match that is not weak."""
CHANCE_OF_TEXTS = 0.1
"""The same for texts: right ones, above all in another language, lie near the floor."""
HEAP, LETTERS, INVENTED = "heap", "letters", "invented"
_PARTS = 8
_SENSE = 2.0
"""How much lower, in calibrated units, the floor is for the mean query that means something than
for the mean one that does not, where they can be separated; see docs/decisions/0020."""
_SHRINKAGE = 0.5
_LEAST_CHARS, _MOST_CHARS = 4, 16
_N_TRIES = 20
_N_NONSENSE = 200


@dataclass(frozen=True)
class CalibrationQueries:
    """What floors are measured with, encoded in their roles: unit rows [n, embed_dim].

    ``meant`` are the shipped queries, ``passages`` the same texts as documents, ``nonsense`` the
    texts of that function as queries, and ``kinds`` their kinds. ``space`` compares them with rows.
    """

    meant: Embeddings
    passages: Embeddings
    kinds: Sequence[str]
    nonsense: Embeddings
    space: Space


def nonsense(queries: Sequence[SampleQuery]) -> list[SampleQuery]:
    """Texts that mean nothing, the same each time: heaps of words, letters, invented words.

    They are made of the words and letters of queries, language by language.
    """
    chance = random.Random(0)
    of_language: dict[str, list[SampleQuery]] = {}
    for query in queries:
        of_language.setdefault(query.language, []).append(query)
    names = sorted(of_language)
    spaced = [name for name in names if _is_spaced(of_language[name])]
    texts = []
    for index in range(_N_NONSENSE):
        name = names[index % len(names)]
        of_this_language = of_language[name]
        texts.append(SampleQuery(name, HEAP, _heap(of_this_language, chance)))
        letters = spaced[index % len(spaced)] if spaced else name
        texts.append(SampleQuery(letters, LETTERS, _letters(of_language[letters], chance)))
        invent = _invented if name in spaced else _characters
        texts.append(SampleQuery(name, INVENTED, invent(of_this_language, chance)))
    return texts


def measure_floors(
    encoded: CalibrationQueries,
    samples: Mapping[Modality, Embeddings],
    constants: Mapping[Modality, Calibration],
) -> dict[Modality, Floor]:
    """The floor of each modality that has vectors: unit rows [n, n_rows, embed_dim] in ``samples``.

    For texts, a heap of words means nothing. A picture or a sound matches the name of a single
    thing, so for these only letters and invented words mean nothing.
    """
    sense, separated = _sense(encoded)
    is_heap = np.array([text_kind == HEAP for text_kind in encoded.kinds])
    floors = {}
    for modality, rows in samples.items():
        if not len(rows):
            continue
        by = constants.get(modality, UNCALIBRATED)
        near = np.zeros_like(sense)
        if modality == TEXT:  # the scores have had a share of it taken off
            near = (by.share - 1) * encoded.passages.mean(axis=0) / by.c
        counts = np.ones_like(is_heap) if modality == TEXT else ~is_heap
        empty = encoded.nonsense[counts]
        asked, levels = encoded.space.asked(empty)
        scores = scores_of(asked, rows, by, levels[:, None])
        tilted = scores + (separated[counts] + empty @ near)[:, None]
        tilt = sense + near
        middle = float(encoded.meant.mean(axis=0) @ tilt)
        floors[modality] = replace(
            _floor(tilted - middle, CHANCE_OF_TEXTS if modality == TEXT else CHANCE),
            tilt=tuple(tilt.tolist()),
            middle=middle,
        )
    return floors


def _sense(encoded: CalibrationQueries) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The direction of queries that mean something, and where the nonsense is along it.

    Each half is placed along a direction fitted to the other, since any few rows differ from
    others in many dimensions. The worse it separates the halves it was not fitted to, the shorter
    the direction is. Nothing is fitted to heaps of words: they mean something to some modalities.

    Returns:
        [embed_dim], and [len(asked.nonsense)].
    """
    fitted = np.flatnonzero([text_kind != HEAP for text_kind in encoded.kinds])
    empty = encoded.nonsense[fitted].astype(np.float64)
    meant = encoded.meant.astype(np.float64)
    far, near = np.zeros(len(meant)), np.zeros(len(empty))
    chance = np.random.default_rng(0)
    half, other = (chance.permutation(len(rows)) % 2 == 0 for rows in (meant, empty))
    for of_meant, of_empty in ((half, other), (~half, ~other)):
        direction, middle = _discriminant(meant[of_meant], empty[of_empty])
        far[~of_meant] = meant[~of_meant] @ direction - middle
        near[~of_empty] = empty[~of_empty] @ direction - middle
    scale = _SENSE * float(np.clip(far.mean() - near.mean(), 0.0, 1.0))
    direction, middle = _discriminant(meant, empty)
    separated = encoded.nonsense @ direction
    separated[fitted] = near + middle
    return scale * direction, scale * separated


def _discriminant(
    meant: NDArray[np.float64], empty: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """The direction [embed_dim] in which the means of two sets are 1 apart, and its middle."""
    means = meant.mean(axis=0), empty.mean(axis=0)
    apart = means[0] - means[1]
    within = np.zeros((len(apart), len(apart)))
    for rows, mean in zip((meant, empty), means, strict=True):
        within += (rows - mean).T @ (rows - mean) / max(len(rows) - 1, 1)
    level = np.trace(within) / len(within)
    shrunk = (1 - _SHRINKAGE) * within + _SHRINKAGE * level * np.eye(len(within))
    direction = np.linalg.solve(shrunk, apart) if level > 0 else apart
    direction = direction / max(float(direction @ apart), 1e-12)
    return direction, float((means[0] + means[1]) @ direction / 2)


def _floor(scores: NDArray[np.float64], chance: float) -> Floor:
    """From scores [n_queries, n]: the level, and how it rises from an eighth of them to all."""
    n = scores.shape[1]
    level = _level(scores, chance)
    if n < _PARTS:
        return Floor(level, 0.0, n)
    parts = [_level(scores[:, offset::_PARTS], chance) for offset in range(_PARTS)]
    slope = max(0.0, (level - float(np.mean(parts))) / np.log(_PARTS))
    return Floor(level, float(slope), n)


def _level(scores: NDArray[np.float64], chance: float) -> float:
    return float(np.quantile(scores.max(axis=1), 1 - chance))


def _heap(queries: Sequence[SampleQuery], chance: random.Random) -> str:
    words = [word for query in queries for word in _words(query.text)]
    return " ".join(chance.choices(words, k=chance.randint(2, 8)))


def _words(text: str) -> list[str]:
    """The words of a text; of one without blanks, pairs of characters."""
    return text.split() if " " in text else [text[at : at + 2] for at in range(0, len(text), 2)]


def _invented(queries: Sequence[SampleQuery], chance: random.Random) -> str:
    """Words that a language could have but that are not in these queries.

    Each letter is drawn from those that follow the two before it.
    """
    known_words = {word.lower() for query in queries for word in query.text.split()}
    follows: dict[str, list[str]] = {}
    for word in sorted(known_words):
        bounded = f"^^{word}$"
        for at in range(2, len(bounded)):
            follows.setdefault(bounded[at - 2 : at], []).append(bounded[at])
    words = []
    for _ in range(chance.randint(1, 5)):
        tries = (_word(follows, chance) for _ in range(_N_TRIES))
        words.append(
            next((w for w in tries if w not in known_words and len(w) >= _LEAST_CHARS), "")
        )
    return " ".join(filter(None, words)) or _letters(queries, chance)


def _word(follows: Mapping[str, Sequence[str]], chance: random.Random) -> str:
    word = "^^"
    while len(word) < _MOST_CHARS + 2:
        letter = chance.choice(follows[word[-2:]])
        if letter == "$":
            break
        word += letter
    return word[2:]


def _characters(queries: Sequence[SampleQuery], chance: random.Random) -> str:
    """Random characters of a language that is written without blanks."""
    alphabet = sorted({letter for query in queries for letter in query.text if letter.isalpha()})
    return "".join(chance.choices(alphabet, k=chance.randint(_LEAST_CHARS, 12)))


def _is_spaced(queries: Sequence[SampleQuery]) -> bool:
    """Whether the language separates words; where it does not, a letter may be one."""
    return sum(" " in query.text for query in queries) > len(queries) / 2


def _letters(queries: Sequence[SampleQuery], chance: random.Random) -> str:
    """Letters of a language's alphabet, all equally likely: too long to be words by chance."""
    alphabet = sorted({letter for query in queries for letter in query.text.lower()})
    letters = list(filter(str.isalpha, alphabet))
    lengths = [chance.randint(4, 9) for _ in range(chance.randint(1, 5))]
    return " ".join("".join(chance.choices(letters, k=length)) for length in lengths)
