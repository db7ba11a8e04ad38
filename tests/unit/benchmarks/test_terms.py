from __future__ import annotations

import numpy as np
import pytest

from benchmarks.retrieval.terms import WAYS, Media, both, nearest_other, push_away
from encoder.space import Calibration, Space
from encoder.types import IMAGE, TEXT

SPACE = Space(20, {}, {TEXT: Calibration(0.1, 0.1), IMAGE: Calibration(0.2, 0.1)})
ROWS = np.eye(20, dtype=np.float32)
# Each query is near its own class, and half as near to the next.
QUERIES = (ROWS[:12] + 0.5 * ROWS[1:13]) / np.sqrt(1.25)
MEDIA = Media(SPACE, ROWS, ROWS, ROWS, QUERIES.astype(np.float32), np.arange(12))


def test_the_nearest_other_class_is_the_next_one() -> None:
    assert nearest_other(MEDIA).tolist() == list(range(1, 13))


@pytest.mark.parametrize("name", WAYS)
def test_pushing_the_other_class_away_takes_it_out_of_the_first_ten(name: str) -> None:
    way = WAYS[name]
    found, seen = push_away(MEDIA, way, 0.0)
    assert (found, seen) == (1.0, 2.0)
    found, seen = push_away(MEDIA, way, 1.0)
    assert (found, seen) == (1.0, 0.0)


@pytest.mark.parametrize("name", WAYS)
def test_two_queries_find_the_items_of_both(name: str) -> None:
    assert both(MEDIA, WAYS[name]) > 0.9
