from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quant.networks.crops import crops, random_box
from benchmarks.quant.networks.pictures import normalize

SIDES = st.integers(8, 900)


@given(SIDES, SIDES, st.integers(0, 2**31))
def test_a_box_lies_in_the_picture(width: int, height: int, seed: int) -> None:
    left, top, right, bottom = random_box(width, height, np.random.default_rng(seed))
    assert 0 <= left < right <= width + 1e-6
    assert 0 <= top < bottom <= height + 1e-6


def test_batches_do_not_end_differ_and_come_again() -> None:
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (40 + i, 50, 3), dtype=np.uint8) for i in range(5)]
    batches = list(islice(crops(pictures, 16, 2), 7))
    again = list(islice(crops(pictures, 16, 2), 7))
    assert {batch.shape for batch in batches} == {(2, 3, 16, 16)}
    assert {batch.dtype for batch in batches} == {np.dtype(np.float32)}
    for first, second in zip(batches, again, strict=True):
        np.testing.assert_array_equal(first, second)
    assert len({batch.tobytes() for batch in batches}) == 7


def test_a_crop_of_one_colour_keeps_it() -> None:
    pictures = [np.full((30, 20, 3), 9, np.uint8)] * 3
    (batch,) = islice(crops(pictures, 8, 3), 1)
    np.testing.assert_allclose(batch, normalize(np.full((3, 3, 8, 8), 9, np.uint8)), atol=1e-6)
