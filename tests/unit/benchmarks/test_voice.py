"""The table of the benchmark of spoken questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from benchmarks.harness.timing import Times
from benchmarks.towers.voice import FULL, OURS, likeness, rows_of
from encoder.towers.base import Tower
from encoder.towers.encoded import Encoded


def test_the_second_way_is_judged_beside_the_first() -> None:
    times = Times((FULL, OURS), np.array([[4.0, 2.0], [1.0, 1.0]]))
    # two recordings of two words; ours mishears one word more
    wrong = {FULL: ([0.5, 0.5, 0.0, 0.0], [0, 0, 1, 1]), OURS: ([0.5] * 4, [0, 0, 1, 1])}
    full, ours = rows_of(times, wrong, {FULL: ("", ""), OURS: ("0.9", "1 of 2")})
    assert full[1:3] == ("3000", "")
    assert ours[2] == "3.00 (2.20–3.80); 3.00 (≥ 1.7: met)"
    assert str(full[3]).startswith("0.250 (")
    assert str(ours[3]).startswith("0.500 (")
    assert str(ours[4]).startswith("+25.0 (")
    assert str(ours[4]).endswith("25.0 (≤ 0.5: missed)")
    assert ours[5:] == ("0.9", "1 of 2")


class OneAxisAWord:
    """A unit vector of the words in a text."""

    def prepare(self, content: Any) -> np.ndarray[Any, Any]:
        row = np.array([word in str(content) for word in ("rain", "sea", "dog")], np.float32)
        return np.asarray(row / np.linalg.norm(row))

    def forward(self, batch: Sequence[Any]) -> Encoded:
        return Encoded(np.stack(batch))


def test_transcripts_are_compared_with_the_way_before() -> None:
    said = {
        "full": ["rain", "sea dog", "dog", ""],
        "int8": ["rain", "sea dog", "dog", ""],
        "ours": ["rain", "sea", "", ""],
    }
    found = likeness(said, cast(Tower, OneAxisAWord()))
    assert found["full"] == ("", "")
    assert found["int8"] == ("1.000 (1.000–1.000); 1.000", "4 of 4")
    cosine, same = found["ours"]
    assert float(cosine.partition(" ")[0]) == pytest.approx((1 + 0.5**0.5 + 0 + 1) / 4, abs=5e-4)
    assert cosine.endswith("; 0.000")
    assert same == "2 of 4"
