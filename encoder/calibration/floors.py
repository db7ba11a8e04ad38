"""From scores of queries that mean nothing to the floor below which a match is weak. Pure.

Scores of unrelated pairs have no fixed upper end: the best of many grows with their number. What a
query without meaning finds best among a modality's vectors is what chance gives (as the noise floor
of a detector), and so no reason to show it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from encoder.calibration.measure import scores_of
from encoder.calibration.queries import SampleQuery
from encoder.space import UNCALIBRATED, Calibration, Floor
from encoder.types import TEXT, Embeddings, Modality

CHANCE = 0.03
"""Of the queries without meaning, how many may have a match of a modality that is not weak."""
HEAP, LETTERS = "heap", "letters"
_PARTS = 8


def nonsense(queries: Sequence[SampleQuery], n: int = 200) -> list[SampleQuery]:
    """Texts that mean nothing, the same each time: ``n`` heaps of words, and ``n`` of letters.

    Args:
        queries: whose words and letters are taken; those of one language go together.
        n: how many of each.
    """
    chance = random.Random(0)
    of_language: dict[str, list[SampleQuery]] = {}
    for query in queries:
        of_language.setdefault(query.language, []).append(query)
    names = sorted(of_language)
    spaced = [name for name in names if _is_spaced(of_language[name])]
    made = []
    for place in range(n):
        heap = names[place % len(names)]
        made.append(SampleQuery(heap, HEAP, _heap(of_language[heap], chance)))
        letters = spaced[place % len(spaced)] if spaced else heap
        made.append(SampleQuery(letters, LETTERS, _letters(of_language[letters], chance)))
    return made


def measure_floors(
    asked: Sequence[SampleQuery],
    embeddings: Embeddings,
    samples: Mapping[Modality, Embeddings],
    constants: Mapping[Modality, Calibration],
) -> dict[Modality, Floor]:
    """The floor of each modality that has vectors.

    To a text a heap of words means nothing. A picture or a sound answers to the name of a single
    thing, so that only letters mean nothing to it.

    Args:
        asked: what `nonsense` made.
        embeddings: of these, unit rows [len(asked), embed_dim], encoded as queries.
        samples: by modality, unit rows [n, n_rows, embed_dim] of what is stored.
        constants: by which scores are calibrated.
    """
    present = {modality: rows for modality, rows in samples.items() if len(rows)}
    letters = embeddings[[query.kind == LETTERS for query in asked]]
    return {
        kind: _floor(
            scores_of(
                embeddings if kind == TEXT else letters, rows, constants.get(kind, UNCALIBRATED)
            )
        )
        for kind, rows in present.items()
    }


def _floor(scores: NDArray[np.float64]) -> Floor:
    """From scores [n_queries, n]: the level, and how it rises from an eighth of them to all."""
    n = scores.shape[1]
    level = _level(scores)
    if n < _PARTS:
        return Floor(level, 0.0, n)
    parts = [_level(scores[:, part::_PARTS]) for part in range(_PARTS)]
    slope = max(0.0, (level - float(np.mean(parts))) / np.log(_PARTS))
    return Floor(level, float(slope), n)


def _level(scores: NDArray[np.float64]) -> float:
    return float(np.quantile(scores.max(axis=1), 1 - CHANCE))


def _heap(queries: Sequence[SampleQuery], chance: random.Random) -> str:
    words = [word for query in queries for word in _words(query.text)]
    return " ".join(chance.choices(words, k=chance.randint(2, 8)))


def _words(text: str) -> list[str]:
    """Of a text without blanks, pairs of characters."""
    return text.split() if " " in text else [text[at : at + 2] for at in range(0, len(text), 2)]


def _is_spaced(queries: Sequence[SampleQuery]) -> bool:
    """Whether the language parts words; where it does not, a letter may be one."""
    return sum(" " in query.text for query in queries) > len(queries) / 2


def _letters(queries: Sequence[SampleQuery], chance: random.Random) -> str:
    """Of a language's alphabet, each as often: too long to be words by chance."""
    alphabet = sorted({letter for query in queries for letter in query.text.lower()})
    letters = list(filter(str.isalpha, alphabet))
    lengths = [chance.randint(4, 9) for _ in range(chance.randint(1, 5))]
    return " ".join("".join(chance.choices(letters, k=length)) for length in lengths)
