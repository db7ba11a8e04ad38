"""Measure how well a binding finds files by their texts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder.binding import ridge
from encoder.binding.ridge import folds
from encoder.space import l2_normalize
from encoder.types import Embeddings

_DRAWS = 2000
_CONFIDENCE = 0.95

Ranks = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FileTextPairs:
    """Files and the texts that describe them.

    Args:
        features: a tower's features of each file, [n_files, n_features].
        files: the index of each pair's file, int64 [n_pairs].
        texts: the index of each pair's text among the distinct ones, int64 [n_pairs].
        asked: each distinct text as a query, unit rows [n_texts, embed_dim].
    """

    features: NDArray[np.float32]
    files: NDArray[np.int64]
    texts: NDArray[np.int64]
    asked: Embeddings

    def targets(self) -> Embeddings:
        """The mean of each file's texts, unit rows [n_files, embed_dim]."""
        sums = np.zeros((len(self.features), self.asked.shape[1]))
        np.add.at(sums, self.files, self.asked[self.texts])
        return l2_normalize(sums)


@dataclass(frozen=True)
class BindingJudgement:
    """How well files are found by their texts, over ``n_pairs`` queries and ``n_files`` files.

    A query is one pair's text and its file; other files with the same text are left out.

    Args:
        before: ``recall_at_1``, ``recall_at_10`` and ``mrr`` without the binding.
        after: the same with it, for files that it was not fitted on.
        gain: the mean gain in ``mrr`` and its 95 % interval (bootstrap over files).
    """

    n_pairs: int
    n_files: int
    before: Mapping[str, float]
    after: Mapping[str, float]
    gain: tuple[float, float, float]

    @property
    def helps(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.gain[1] > 0


def held_out(pairs: FileTextPairs) -> Embeddings:
    """Each file as a binding fitted on the other folds embeds it, unit rows [n_files, embed_dim].

    Files, not pairs, are split into folds, so that all captions of a file are in the same fold.
    """
    targets = pairs.targets()
    rows = np.zeros_like(targets)
    for out in folds(len(pairs.features)):
        rows[out] = ridge.fit(pairs.features[~out], targets[~out]).apply(pairs.features[out])
    return l2_normalize(rows)


def judge(pairs: FileTextPairs, before: Embeddings | None, after: Embeddings) -> BindingJudgement:
    """Compare held-out files (at least two), embedded ``after`` binding, with those ``before``.

    Both are unit rows [n_files, embed_dim]; files that had none before count as found by chance.
    """
    ranks = ranks_of(pairs, after)
    if before is None:
        # among how many files each pair's file is ranked, itself included
        candidates = (~_same_text(pairs)).sum(axis=1)[pairs.texts] + 1
        reciprocal = np.cumsum(1 / np.arange(1, candidates.max() + 1))[candidates - 1] / candidates
        was = {
            "recall_at_1": float((1 / candidates).mean()),
            "recall_at_10": float(np.minimum(10 / candidates, 1).mean()),
            "mrr": float(reciprocal.mean()),
        }
    else:
        ranks_before = ranks_of(pairs, before)
        was, reciprocal = _measures(ranks_before), 1 / ranks_before
    gain = _interval(1 / ranks - reciprocal, pairs.files)
    return BindingJudgement(len(ranks), len(pairs.features), was, _measures(ranks), gain)


def ranks_of(pairs: FileTextPairs, rows: Embeddings) -> Ranks:
    """The rank of each pair's file for its text, from 1; ties count half against it."""
    # rounded, since equal rows differ in the last digit
    cosines = (pairs.asked.astype(np.float64) @ rows.T).round(6)
    same = _same_text(pairs)
    ranks = np.empty(len(pairs.files), np.int64)
    for index, (file, text) in enumerate(zip(pairs.files, pairs.texts, strict=True)):
        other_cosines = cosines[text][~same[text]]
        own_cosine = cosines[text, file]
        ranks[index] = (
            1 + (other_cosines > own_cosine).sum() + (other_cosines == own_cosine).sum() // 2
        )
    return ranks


def _same_text(pairs: FileTextPairs) -> NDArray[np.bool_]:
    """Which files each text describes, [n_texts, n_files]."""
    same = np.zeros((len(pairs.asked), len(pairs.features)), bool)
    same[pairs.texts, pairs.files] = True
    return same


def _measures(ranks: Ranks) -> dict[str, float]:
    return {
        "recall_at_1": float((ranks == 1).mean()),
        "recall_at_10": float((ranks <= 10).mean()),
        "mrr": float((1 / ranks).mean()),
    }


def _interval(
    gains: NDArray[np.float64], files: Sequence[int] | NDArray[np.int64]
) -> tuple[float, float, float]:
    """The mean and its interval; a file's pairs are drawn together (Efron, 1979)."""
    sums, counts = np.bincount(files, gains), np.bincount(files)
    drawn = np.random.default_rng(0).integers(len(sums), size=(_DRAWS, len(sums)))
    means = sums[drawn].sum(axis=1) / np.maximum(counts[drawn].sum(axis=1), 1)
    low, high = np.quantile(means, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return float(gains.mean()), float(low), float(high)
