"""Bindings that are fitted on texts alone."""

from __future__ import annotations

import numpy as np

from encoder.binding.judge import FileTextPairs, judge
from encoder.binding.ridge import Shared, folds
from encoder.space import l2_normalize

THERE, HERE, N = 12, 8, 60


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def turned(rows: np.ndarray) -> np.ndarray:
    """From one space to the other."""
    return l2_normalize(rows @ drawn(1, HERE, THERE))


def test_what_was_fitted_on_texts_finds_files_beyond_a_gap() -> None:
    texts, asked = l2_normalize(drawn(2, 200, HERE)), l2_normalize(drawn(3, N, HERE))
    gap = 5 * drawn(4, THERE)
    features = turned(asked) + gap
    shared = Shared(turned(texts), texts)
    pairs = FileTextPairs(features, np.arange(N), np.arange(N), asked)
    judged = judge(pairs, None, shared.held_out(features))
    assert judged.helps
    assert judged.after["recall_at_1"] > 0.9
    rows = l2_normalize(shared.fit(features).apply(features))
    assert ((rows @ asked.T).argmax(axis=1) == np.arange(N)).mean() > 0.9


def test_a_file_is_centred_without_itself() -> None:
    texts = l2_normalize(drawn(2, 50, HERE))
    shared = Shared(turned(texts), texts)
    features = drawn(5, 25, THERE)
    moved = features.copy()
    moved[0] += 100  # moves the mean of the folds that have it, and not its own
    first = next(fold for fold in folds(25) if fold[0])
    rows, other = shared.held_out(features), shared.held_out(moved)
    same = first.copy()
    same[0] = False
    assert np.allclose(rows[same], other[same])
    assert not np.allclose(rows[~first], other[~first])
