"""Columns that were drawn line by line, as boxes and as pages of PDFs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ingest import IngestConfig, identify, segments
from ingest.kinds.pdf_text import column_order
from tests.support.media import write_pdf_lines

CONFIG = IngestConfig()
LEFT = [f"left {n} is about the ferry that leaves at nine" for n in range(8)]
RIGHT = [f"right {n} is about whales and of the winter sea" for n in range(6)]


def boxes(*rows: Sequence[tuple[float, float]]) -> np.ndarray:
    """Boxes 10 high, a row every 14, each with its left and right."""
    return np.array(
        [(left, 14 * n, right, 14 * n + 10) for n, row in enumerate(rows) for left, right in row],
        np.float64,
    )


TWO = [(0, 200), (230, 430)]


@pytest.mark.parametrize(
    ("rows", "order"),
    [
        ([[(0, 430)], *[TWO] * 3], [0, 1, 3, 5, 2, 4, 6]),
        ([*[TWO] * 3, [(0, 200)]], [0, 2, 4, 6, 1, 3, 5]),  # the left one is longer
        ([*[[*TWO, (460, 660)]] * 3], [0, 3, 6, 1, 4, 7, 2, 5, 8]),
        ([*[TWO] * 3, [(0, 430)], *[TWO] * 3], [0, 2, 4, 1, 3, 5, 6, 7, 9, 11, 8, 10, 12]),
        ([[(0, 90), (95, 200), (230, 430)], *[TWO] * 2], [0, 1, 3, 5, 2, 4, 6]),  # a bold word
    ],
)
def test_columns_are_read_one_after_the_other(
    rows: Sequence[Sequence[tuple[float, float]]], order: list[int]
) -> None:
    assert column_order(boxes(*rows)) == order


@pytest.mark.parametrize(
    "rows",
    [
        [[(0, 400)]] * 9,
        [[(0, 40), (100, 160), (200, 230)]] * 9,  # a table of short cells
        [[(0, 60), (100, 400)]] * 9,  # words and what they mean
        [[(0, 120), (200, 320)], [(0, 190), (200, 260)], [(0, 60), (200, 390)]] * 3,  # ragged cells
        [TWO] * 2,
        [*[[(0, 95), (230, 325)]] * 4, *[TWO] * 3],  # columns of which most lines are short
        [[(0, 200), (205, 400)]] * 9,  # a space between them
    ],
)
def test_what_is_read_row_by_row_stays(rows: Sequence[Sequence[tuple[float, float]]]) -> None:
    assert column_order(boxes(*rows)) is None


def test_columns_that_were_drawn_in_turn_stay() -> None:
    left, right = boxes(*[TWO[:1]] * 6), boxes(*[TWO[1:]] * 6)
    assert column_order(np.concatenate([left, right])) is None


def test_a_page_is_read_column_by_column_and_hits_keep_their_boxes(tmp_path: Path) -> None:
    lines = [(50.0, 760.0, "A heading over both of the columns of this page")]
    for n, text in enumerate(LEFT):
        lines.append((50, 720 - 14 * n, text))
        lines += [(320, 720 - 14 * n, RIGHT[n])] if n < len(RIGHT) else []
    path = write_pdf_lines(tmp_path / "a.pdf", [*lines, (50, 100, "A last line below both")])
    asset = identify(path, CONFIG)
    (found,) = segments(asset, CONFIG)
    words = str(found.content).split()
    wanted = [lines[0][2], *LEFT, *RIGHT, "A last line below both"]
    assert words == " ".join(wanted).split()
    corners = json.loads(found.boxes)
    assert len(corners) == len(wanted)
    lefts = [box[0] for box in corners]
    assert lefts == pytest.approx([50 / 600] * 9 + [320 / 600] * 6 + [50 / 600], abs=0.01)
