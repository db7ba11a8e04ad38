"""From cosines of unrelated pairs to constants. Pure.

The cosine of a query to any text, picture or sound has a typical level and spread for each modality
(the modality gap: Liang et al., "Mind the Gap", 2022). Nearly all pairs of a stored vector and a
query that was written for nobody's content are unrelated, so their mean and deviation show what
chance gives: no labels are needed.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.space import UNCALIBRATED, Calibration, l2_normalize
from encoder.types import AUDIO, TEXT, Embeddings, Modality

_FILE = Path(__file__).with_name("queries.tsv")


@dataclass(frozen=True)
class SampleQuery:
    """A query that nobody's content answers in particular, in a language of ISO 639-1.

    ``kind`` is ``caption``, ``question``, ``keywords`` or ``name``.
    """

    language: str
    kind: str
    text: str


@cache
def sample_queries() -> Sequence[SampleQuery]:
    """The shipped queries, about 300."""
    return tuple(SampleQuery(**row) for row in rows_of(_FILE))


def rows_of(table: Path) -> list[dict[str, str]]:
    """The rows of a shipped table, by the names in its first line that is no comment."""
    with table.open(encoding="utf-8", newline="") as file:
        lines = (line for line in file if not line.startswith("#"))
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


Levels: TypeAlias = "NDArray[np.float64] | float"
"""Of queries, [n_queries, 1]: see `encoder.space.Space.asked`."""

MAX_VECTORS = 2000
"""Of one modality: more would not change the second digit of any constant."""
_TRUSTED = 200
"""With this many segments of its kind, a store's level counts as much as its model's."""
_KNOWN = 0.6
_LEAST_SHARE = 0.05
_ALIKE = 1e-6
"""A deviation that is only rounding."""


@dataclass(frozen=True)
class Measured:
    """The constants of one modality, for each row of an item, and how reliable they are.

    ``by_kind`` and ``by_language`` have the mean cosine of row 0 to each kind of query.
    """

    calibration: Calibration
    n_vectors: int
    by_kind: Mapping[str, float]
    by_language: Mapping[str, float]

    @property
    def spread(self) -> float:
        """How far the level moves with the kind of query, in units of ``c``: the difference between
        the highest and the lowest. Scores of a query are off by about half of it."""
        return _range(self.by_kind) / self.calibration.c

    @property
    def spread_of_languages(self) -> float:
        """The same between languages."""
        return _range(self.by_language) / self.calibration.c


def measure(
    queries: Sequence[SampleQuery],
    embeddings: Embeddings,
    samples: Mapping[Modality, Embeddings],
    levels: Levels = 1.0,
) -> dict[Modality, Measured]:
    """The constants of each modality that has vectors, unit rows [n, n_rows, embed_dim].

    Copies of one vector count once. Captions are left out where they may describe what is stored:
    with their right pictures among the pairs, the deviation would be an eighth too wide. Where all
    cosines are alike, as for a single picture, the deviation is taken from the other modalities, so
    that no score becomes infinite. Embeddings of the queries are [len(queries), embed_dim], encoded
    as queries and `encoder.space.Space.asked`.
    """
    measured = {
        modality: _all_rows(queries, _unrelated(queries, modality), embeddings, rows, levels)
        for modality, rows in samples.items()
        if len(rows)
    }
    widest = max((of_modality.calibration.c for of_modality in measured.values()), default=0.0)
    least = _LEAST_SHARE * widest if widest > _ALIKE else 1.0
    return {
        modality: replace(of, calibration=_no_narrower(of.calibration, least))
        for modality, of in measured.items()
    }


def told_apart(
    queries: Sequence[SampleQuery], embeddings: Embeddings
) -> tuple[list[SampleQuery], Embeddings]:
    """Only the queries in languages that the model knows, and their unit rows [n, embed_dim].

    Queries in a language whose words a model does not know cluster in one spot, wherever that is. A
    language counts if its queries are at least .6 times as far apart (one minus the mean cosine of
    two) as those of the language where they are furthest apart.
    """
    languages = np.array([query.language for query in queries])
    apart = {name: _apart(embeddings[languages == name]) for name in np.unique(languages)}
    least = _KNOWN * max(apart.values())
    chosen = np.array([apart[name] >= least for name in languages])
    return [q for q, is_known in zip(queries, chosen, strict=True) if is_known], embeddings[chosen]


def _apart(rows: Embeddings) -> float:
    n = len(rows)
    together = np.linalg.norm(rows.sum(axis=0, dtype=np.float64)) ** 2
    return max(0.0, float(1 - (together - n) / max(n * (n - 1), 1)))


def constants_of(measured: Mapping[Modality, Measured]) -> dict[Modality, Calibration]:
    return {modality: of_modality.calibration for modality, of_modality in measured.items()}


def blended(measured: Calibration, shipped: Calibration, n_segments: int) -> Calibration:
    """The model's constants, with the level raised towards a store's, if that is higher.

    The more segments, the more the store's counts. A lower level is not taken: in a store of
    recordings, all of speech, it lets these answer what nothing answers. A scale is taken that is
    wider in any case, as that of captions, which would fill each list.

    >>> blended(Calibration(0.2, 0.1), Calibration(0.1, 0.2), 200)
    Calibration(mu=0.15000000000000002, c=0.2, further=(), share=0.0)
    >>> blended(Calibration(0.1, 0.5), Calibration(0.1, 0.2), 200).c
    0.25
    """
    share = n_segments / (n_segments + _TRUSTED)
    blended_rows = tuple(
        blended(row, shipped.of_row(number), n_segments)
        for number, row in enumerate(measured.further, 1)
    )
    level = shipped.mu + share * max(0.0, measured.mu - shipped.mu)
    return replace(shipped, mu=level, c=max(shipped.c, share * measured.c), further=blended_rows)


def shares_of_best(
    embeddings: Embeddings,
    samples: Mapping[Modality, Embeddings],
    constants: Mapping[Modality, Calibration],
    levels: Levels = 1.0,
) -> dict[Modality, float]:
    """The mean share of each modality in a query's ten best among all samples.

    Queries are unit rows [n_queries, embed_dim], samples [n, n_rows, embed_dim] by modality.
    """
    scores = [
        scores_of(embeddings, rows, constants.get(modality, UNCALIBRATED), levels)
        for modality, rows in samples.items()
    ]
    kinds = np.repeat(np.arange(len(scores)), [of_modality.shape[1] for of_modality in scores])
    best = np.argsort(-np.concatenate(scores, axis=1), axis=1)[:, :10]
    return {m: float((kinds[best] == index).mean()) for index, m in enumerate(samples)}


def scores_of(
    embeddings: Embeddings, samples: Embeddings, by: Calibration, levels: Levels = 1.0
) -> NDArray[np.float64]:
    """Calibrated scores [n_queries, n] of items [n, n_rows, embed_dim], of which the best row
    counts."""
    each = [
        by.of_row(row).apply((embeddings @ samples[:, row].T).astype(np.float64), levels)
        for row in range(samples.shape[1])
    ]
    best: NDArray[np.float64] = np.max(each, axis=0)
    return best


def _unrelated(queries: Sequence[SampleQuery], modality: Modality) -> NDArray[np.bool_]:
    """Which queries nothing of a modality answers: [n_queries]; all of them if none is such.

    Pictures answer captions. To sounds they are near misses, which a list of all kinds is full of.
    """
    has_answers = modality not in (TEXT, AUDIO)
    chosen = np.array([not has_answers or query.kind != "caption" for query in queries])
    return chosen if chosen.any() else ~chosen


def _all_rows(
    queries: Sequence[SampleQuery],
    unrelated: NDArray[np.bool_],
    embeddings: Embeddings,
    rows: Embeddings,
    levels: Levels,
) -> Measured:
    first, *further_rows = (
        _one(queries, unrelated, embeddings, _different(rows[:, row]), levels)
        for row in range(rows.shape[1])
    )
    further = tuple(of_row.calibration for of_row in further_rows)
    return replace(first, calibration=replace(first.calibration, further=further))


def _one(
    queries: Sequence[SampleQuery],
    unrelated: NDArray[np.bool_],
    embeddings: Embeddings,
    rows: Embeddings,
    levels: Levels,
) -> Measured:
    cosines = embeddings.astype(np.float64) @ rows.astype(np.float64).T
    mu = float(cosines[unrelated].mean())
    cosines -= (levels - 1) * mu
    means = cosines.mean(axis=1)
    return Measured(
        Calibration(mu, float(cosines[unrelated].std())),
        len(rows),
        _means([query.kind for query in queries], means),
        _means([query.language for query in queries], means),
    )


def _different(rows: Embeddings) -> Embeddings:
    """One of each; copies that were stored twice differ by rounding."""
    unit = l2_normalize(rows)
    _, first = np.unique(unit.round(5) + 0.0, axis=0, return_index=True)
    different: Embeddings = unit[np.sort(first)]
    return different


def _means(names: Sequence[str], levels: NDArray[np.float64]) -> dict[str, float]:
    of = np.array(names)
    return {str(name): float(levels[of == name].mean()) for name in np.unique(of)}


def _no_narrower(calibration: Calibration, least: float) -> Calibration:
    narrowed = tuple(_no_narrower(each, least) for each in calibration.further)
    return Calibration(calibration.mu, max(calibration.c, least), narrowed)


def _range(levels: Mapping[str, float]) -> float:
    return max(levels.values()) - min(levels.values())
