"""Where on a page or in a picture a text answers a query, by the boxes of its lines. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

from search.ranking.snippets import stems_in

Box: TypeAlias = Sequence[float]
"""x and y of the four corners, from the upper left on, as fractions of the picture."""

_SAME_ROW = 0.5
"""Boxes that share at least this much of the smaller one's height are parts of one line."""

_NEAR_BEST = 0.75
"""Of the weight of the best line: lines with less only share common words with the question."""


def regions(text: str, boxes: Sequence[Box], queries: Sequence[str]) -> Sequence[Box]:
    """The boxes of the lines that hold most words of the queries; one around all where none does.

    Args:
        text: of a segment, with as many lines as there are boxes, or rows of boxes.
        boxes: of its lines, or of the parts of them.
        queries: the texts that are searched for.

    >>> ferry = [.1, .1, .5, .1, .5, .2, .1, .2]
    >>> nine = [.1, .3, .7, .3, .7, .4, .1, .4]
    >>> regions("The ferry\\nleaves at nine", [ferry, nine], ["ferries"]) == [ferry]
    True
    >>> regions("The ferry\\nleaves at nine", [ferry, nine], ["boat"])
    [[0.1, 0.1, 0.7, 0.1, 0.7, 0.4, 0.1, 0.4]]
    """
    if len(boxes) < 2:
        return boxes
    lines = [line for line in text.split("\n") if line.strip()]
    rows = [[box] for box in boxes] if len(boxes) == len(lines) else _rows(boxes)
    if len(rows) != len(lines):
        return [_around(boxes)]
    # A word counts once in a line, and less the more lines have it.
    stems = [stems_in(line, queries) for line in lines]
    n_lines = Counter(stem for of_line in stems for stem in of_line)
    weights = [sum(1 / n_lines[stem] for stem in of_line) for of_line in stems]
    least = max(_NEAR_BEST * max(weights), 1e-9)
    chosen = [row for row, weight in zip(rows, weights, strict=True) if weight >= least]
    return [box for row in chosen for box in row] or [_around(boxes)]


def _rows(boxes: Sequence[Box]) -> list[list[Box]]:
    """Boxes that follow each other on one line, as the cells of a table do."""
    rows: list[list[Box]] = []
    for box in boxes:
        if rows and _share_a_row(rows[-1][-1], box):
            rows[-1].append(box)
        else:
            rows.append([box])
    return rows


def _share_a_row(left: Box, right: Box) -> bool:
    (top, bottom), (other_top, other_bottom) = _span(left[1::2]), _span(right[1::2])
    shared = min(bottom, other_bottom) - max(top, other_top)
    return shared >= _SAME_ROW * min(bottom - top, other_bottom - other_top)


def _span(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _around(boxes: Sequence[Box]) -> Box:
    left, right = _span([x for box in boxes for x in box[::2]])
    top, bottom = _span([y for box in boxes for y in box[1::2]])
    return [left, top, right, top, right, bottom, left, bottom]
