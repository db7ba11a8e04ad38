"""The table of the benchmark of spoken questions."""

from __future__ import annotations

import numpy as np

from benchmarks.harness.timing import Times
from benchmarks.towers.voice import FULL, OURS, rows_of


def test_the_second_way_is_judged_beside_the_first() -> None:
    times = Times((FULL, OURS), np.array([[4.0, 2.0], [1.0, 1.0]]))
    # two recordings of two words; ours mishears one word more
    wrong = {FULL: ([0.5, 0.5, 0.0, 0.0], [0, 0, 1, 1]), OURS: ([0.5] * 4, [0, 0, 1, 1])}
    full, ours = rows_of(times, wrong)
    assert full[1:3] == ("3000", "")
    assert ours[2] == "3.00 (2.20–3.80); 3.00 (≥ 1.7: met)"
    assert str(full[3]).startswith("0.250 (")
    assert str(ours[3]).startswith("0.500 (")
    assert str(ours[4]).startswith("+25.0 (")
    assert str(ours[4]).endswith("25.0 (≤ 0.5: missed)")
