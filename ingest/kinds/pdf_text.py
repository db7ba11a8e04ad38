"""The text of a PDF's page in reading order, and where its characters are. See `column_order`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Rect: TypeAlias = tuple[float, float, float, float]
"""Left, bottom, right and top, in points; up is more."""

_ADDED = -1
_AHEAD = 3
_SLACK_PT = 1.0


@dataclass(frozen=True)
class PageText:
    """Text, and which PDFium character each of its characters is.

    Args:
        text: in reading order.
        places: PDFium's index of each character; None if the indices are the same.
    """

    text: str
    places: Sequence[int] | None = None

    def __str__(self) -> str:
        return self.text

    def rects(self, text_page: Any, start: int, end: int) -> Iterator[Rect]:
        """Boxes of the lines from one character to another."""
        for first, n_chars in self._runs(start, end):
            for n in range(text_page.count_rects(first, n_chars)):
                yield text_page.get_rect(n)

    def _runs(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The first character and length of each run that is contiguous in PDFium."""
        if self.places is None:
            yield start, end - start
            return
        some = np.array(
            [char_index for char_index in self.places[start:end] if char_index != _ADDED]
        )
        for run in np.split(some, np.flatnonzero(np.diff(some) != 1) + 1):
            if len(run):
                yield int(run[0]), len(run)


def read_page(text_page: Any) -> PageText:
    """The text of a page of pypdfium2; columns that were drawn line by line are read in turn."""
    # The length must not change, since boxes are found by the index of a character.
    text = text_page.get_text_range().replace("\r\n", " \n")
    n_rects = text_page.count_rects()
    rects: list[Rect] = [text_page.get_rect(n) for n in range(n_rects)]
    left, bottom, right, top = np.array(rects, np.float64).reshape(-1, 4).T
    order = column_order(np.stack([left, -top, right, -bottom], axis=1)) if n_rects else None
    if order is None or len(text) != text_page.count_chars():
        return PageText(text)
    pieces = _pieces(text_page, rects)
    places: list[int] = []
    letters: list[str] = []
    for number, follower in zip(order, [*order[1:], order[-1] + 1], strict=True):
        piece = pieces[number]
        places += piece
        letters += [text[char_index] for char_index in piece]
        if follower != number + 1 and letters and letters[-1] != "\n":
            places.append(_ADDED)
            letters.append("\n")
    return PageText("".join(letters), places)


def _pieces(text_page: Any, rects: Sequence[Rect]) -> list[list[int]]:
    """The characters of each box, in PDFium's order; spaces belong to what they follow."""
    pieces: list[list[int]] = [[] for _ in rects]
    current_rect = 0
    for char_index in range(text_page.count_chars()):
        left, bottom, right, top = text_page.get_charbox(char_index)
        if right > left and top > bottom:
            x, y = (left + right) / 2, (bottom + top) / 2
            ahead = range(current_rect, min(current_rect + _AHEAD, len(rects)))
            current_rect = next((n for n in ahead if _holds(rects[n], x, y)), current_rect)
        pieces[current_rect].append(char_index)
    return pieces


def _holds(rect: Rect, x: float, y: float) -> bool:
    left, bottom, right, top = rect
    beside = left - _SLACK_PT <= x <= right + _SLACK_PT
    return beside and bottom - _SLACK_PT <= y <= top + _SLACK_PT


Edges: TypeAlias = NDArray[np.float64]
"""Left, top, right and bottom of boxes, [n, 4]; down is more."""

_Span: TypeAlias = tuple[float, float]

_SAME_ROW = 0.5
"""Boxes that share at least this much of the smaller one's height are on one row."""

_GUTTER = 0.8
"""A gutter is at least this many times as wide as a line is high."""

_LEAST_ROWS = 3
_NEAR = 1.5
"""A longer column continues while its lines are at most this many times the usual step apart."""

_LONG = 10.0
"""The lines of a column are at least this many times as long as they are high."""

_FILLED, _SHARE_FILLED = 0.8, 0.6
"""A line fills at least this share of its column, in at least this share of the rows."""


def column_order(edges: Edges) -> list[int] | None:
    """The indices of boxes in reading order; None if the boxes already are in that order.

    Args:
        edges: of parts of lines, in drawing order.
    """
    order: list[int] = []
    rows = _rows(edges)
    while rows:
        n_rows, cuts = _block(edges, rows)
        columns = _columns(edges, rows[:n_rows], cuts) if cuts else [rows[:n_rows]]
        order += [box for column in columns for row in column for box in row]
        rows = rows[n_rows:]
    return order if order != sorted(order) else None


def _rows(edges: Edges) -> list[list[int]]:
    """Rows of boxes that were drawn from left to right next to each other."""
    rows: list[list[int]] = []
    for i, (left, top, _, bottom) in enumerate(edges):
        if rows:
            _, last_top, last_right, last_bottom = edges[rows[-1][-1]]
            height = max(min(bottom - top, last_bottom - last_top), 1e-6)
            shared = min(bottom, last_bottom) - max(top, last_top)
            if shared >= _SAME_ROW * height and left >= last_right - height:
                rows[-1].append(i)
                continue
        rows.append([i])
    return rows


def _block(edges: Edges, rows: Sequence[Sequence[int]]) -> tuple[int, list[float]]:
    """How many of the first rows belong together, and where columns of prose are separated."""
    least = _GUTTER * float(edges[rows[0], 3].max() - edges[rows[0], 1].min())
    free = _gaps(edges[rows[0]], least)
    n_rows = 1
    for row in rows[1:] if free else []:
        gaps = list(_common(free, _outside(edges[row]), least))
        if not gaps:
            break
        free, n_rows = gaps, n_rows + 1
    cuts = [(start + end) / 2 for start, end in free]
    n_prose = _without_tail(edges, rows[:n_rows], cuts) if n_rows >= _LEAST_ROWS else 0
    if n_prose and all(
        _is_prose(edges, column) for column in _columns(edges, rows[:n_prose], cuts)
    ):
        return n_prose, cuts
    return n_rows, []


def _gaps(row: Edges, least: float) -> list[_Span]:
    spans = zip(row[:-1, 2], row[1:, 0], strict=True)
    return [(float(start), float(end)) for start, end in spans if end - start >= least]


def _outside(row: Edges) -> list[_Span]:
    starts = [-np.inf, *row[:, 2]]
    return [(float(s), float(e)) for s, e in zip(starts, [*row[:, 0], np.inf], strict=True)]


def _common(some: Sequence[_Span], spans: Sequence[_Span], least: float) -> Iterator[_Span]:
    for start, end in some:
        for other_start, other_end in spans:
            span = max(start, other_start), min(end, other_end)
            if span[1] - span[0] >= least:
                yield span


def _without_tail(edges: Edges, rows: Sequence[Sequence[int]], cuts: Sequence[float]) -> int:
    """How many rows there are, without those further down that are in one column only."""
    shared = [n for n, row in enumerate(rows) if np.ptp(np.searchsorted(cuts, edges[row, 0]))]
    if len(shared) < _LEAST_ROWS:
        return 0
    steps = np.diff([edges[row, 1].min() for row in rows])
    n_rows, usual = shared[-1] + 1, float(np.median(steps[: shared[-1]]))
    while n_rows < len(rows) and 0 < steps[n_rows - 1] <= _NEAR * usual:
        n_rows += 1
    return n_rows


def _columns(
    edges: Edges, rows: Sequence[Sequence[int]], cuts: Sequence[float]
) -> list[list[list[int]]]:
    columns: list[list[list[int]]] = [[] for _ in range(len(cuts) + 1)]
    for row in rows:
        sides = np.searchsorted(cuts, edges[list(row), 0])
        for number, column in enumerate(columns):
            if row_of_side := [i for i, side in zip(row, sides, strict=True) if side == number]:
                column.append(row_of_side)
    return columns


def _is_prose(edges: Edges, column: Sequence[Sequence[int]]) -> bool:
    if len(column) < _LEAST_ROWS:
        return False
    lefts = np.array([edges[row, 0].min() for row in column])
    rights = np.array([edges[row, 2].max() for row in column])
    heights = np.array([np.max(edges[row, 3] - edges[row, 1]) for row in column])
    widths = rights - lefts
    is_long = np.median(widths) >= _LONG * np.median(heights)
    is_filled = np.mean(widths >= _FILLED * (rights.max() - lefts.min())) >= _SHARE_FILLED
    return bool(is_long and is_filled)
