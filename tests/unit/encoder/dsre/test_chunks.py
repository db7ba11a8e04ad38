"""Windows of a document, and which of them stand for the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.dsre.chunks import Predictor, pick, word_means
from encoder.errors import ModelError
from encoder.space import l2_normalize
from encoder.towers.tokens import cut, pool
from scripts.fit_chunks import fit, save


@given(st.integers(2, 900), st.integers(3, 300))
def test_windows_hold_every_token_once_and_keep_their_marks(n_tokens: int, most: int) -> None:
    ids = np.arange(100, 100 + n_tokens)
    windows = cut(ids, most)
    assert all(len(window) <= most for window in windows)
    assert all(window[0] == ids[0] and window[-1] == ids[-1] for window in windows)
    assert np.array_equal(np.concatenate([window[1:-1] for window in windows]), ids[1:-1])
    lengths = [len(window) for window in windows]
    assert max(lengths) - min(lengths) <= 1
    assert (len(windows) == 1) == (n_tokens <= most)


@given(st.integers(1, 12), st.floats(0.1, 1.0), st.integers(0, 999))
def test_each_window_is_near_to_the_one_that_stands_for_it(n: int, tau: float, seed: int) -> None:
    rows = l2_normalize(np.random.default_rng(seed).normal(size=(n, 3)) + 1)
    picked, nearest = pick(rows, tau)
    assert set(nearest.tolist()) == set(picked)
    assert picked[0] == 0
    assert all(nearest[i] == i for i in picked)
    assert ((rows * rows[nearest]).sum(1) >= tau - 1e-4).all()
    # no chosen one is nearer than tau to one chosen before it, so none is redundant
    cosines = rows @ rows.T
    np.testing.assert_array_equal(nearest, np.asarray(picked)[cosines[:, picked].argmax(1)])


def test_pooling_goes_by_length() -> None:
    pooled = pool(np.eye(2, dtype=np.float32), [30, 10])
    assert pooled == pytest.approx(np.array([3, 1]) / np.sqrt(10))


def test_a_predictor_finds_a_linear_map_and_is_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words, rarity = rng.normal(size=(50, 6)), rng.integers(1, 255, 50).astype(np.uint8)
    texts = [rng.integers(0, 50, 9) for _ in range(300)]
    means = word_means(texts, words, rarity)
    weights = rarity[texts[0]].astype(float)
    expected = (weights[:, None] * words[texts[0]]).sum(0) / weights.sum()
    np.testing.assert_allclose(means[0], expected, rtol=1e-4)
    targets = l2_normalize(means @ rng.normal(size=(6, 4)))
    predictor = fit(means[:200], targets[:200])
    found = predictor.predict(means[200:])
    assert (found * targets[200:]).sum(1).mean() > 0.9
    save(predictor, tmp_path / "p.npz")
    loaded = Predictor.load(tmp_path / "p.npz")
    assert loaded.identity == predictor.identity
    assert np.array_equal(loaded.predict(means), predictor.predict(means))
    (tmp_path / "p.npz").write_bytes(b"no arrays")
    with pytest.raises(ModelError, match="not a predictor"):
        Predictor.load(tmp_path / "p.npz")
