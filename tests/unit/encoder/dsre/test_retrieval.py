import numpy as np
import pytest

from encoder.dsre.fitting.judge import compare, search
from encoder.space import l2_normalize


def test_ranks_and_margins_by_hand() -> None:
    texts = l2_normalize(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    queries = l2_normalize(np.array([[1.0, 0.0], [1.0, 0.1]]))
    found = search(queries, texts, np.array([0, 1]))
    assert found.ndcg.tolist() == [1.0, 0.5]  # first, third
    assert found.margin[0] == pytest.approx(1 - np.sqrt(0.5), abs=1e-6)
    assert found.margin[1] == pytest.approx(queries[1, 1] - queries[1, 0], abs=1e-6)


def test_beyond_the_tenth_nothing_is_found_and_ties_count_against() -> None:
    texts = np.ones((11, 1), np.float32)
    assert search(texts[:1], texts[:10], np.array([0])).ndcg[0] == pytest.approx(1 / np.log2(11))
    assert search(texts[:1], texts, np.array([0])).ndcg[0] == 0.0


def test_loss_is_relative_and_nothing_if_nothing_changed() -> None:
    rng = np.random.default_rng(0)
    texts = l2_normalize(rng.normal(size=(400, 8)))
    queries = l2_normalize(texts + 0.3 * rng.normal(size=texts.shape))
    right = np.arange(400)
    dense = search(queries, texts, right)
    assert compare(dense, dense).ndcg == compare(dense, dense).margin == 0.0
    worse = search(queries, l2_normalize(texts + 0.2 * rng.normal(size=texts.shape)), right)
    loss = compare(dense, worse)
    assert loss.ndcg == pytest.approx(1 - worse.ndcg.mean() / dense.ndcg.mean())
    assert 0 < loss.error < loss.ndcg
    assert loss.margin > 0
    assert loss.n_queries == 400
