import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from encoder.towers.dispatch import bucket_by_length, scatter

lengths = st.lists(st.integers(1, 500), max_size=60)


@given(lengths, st.integers(1, 16), st.integers(1, 600))
def test_every_index_comes_once_and_limits_hold(
    lengths: list[int], max_items: int, max_tokens: int
) -> None:
    batches = list(bucket_by_length(lengths, max_items=max_items, max_tokens=max_tokens))

    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[i] for i in batch)
        assert len(batch) <= max_items
        assert padded <= max_tokens or len(batch) == 1


def test_scatter_restores_the_order() -> None:
    rows = np.eye(6, dtype=np.float32).reshape(3, 2, 6)
    parts = [([2, 0], rows[[2, 0]]), ([1], rows[[1]])]
    assert np.array_equal(scatter(parts, 3, 2, 6), rows)
