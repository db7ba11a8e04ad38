"""The order in which lines are read. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoder.services.boxes import Box

Edges = NDArray[np.float32]
"""Left, top, right and bottom of boxes, [n, 4]."""

_SAME_ROW = 0.5
"""Boxes that share this much of the shorter one's height are on one line."""

_COLUMN_RATIO = 6.0
"""A column's lines are this many times longer than high; shorter ones are cells of a table."""

_LEAST_LINES = 3
"""A column has at least this many lines."""


def reading_order(boxes: Sequence[Box], quarters: int = 0) -> list[int]:
    """The places of boxes in the order in which they are read.

    Rows go from top to bottom, each from left to right. Columns of long lines are read one after
    the other.

    Args:
        boxes: of lines.
        quarters: how many quarter turns to the left make the page upright.
    """
    if not boxes:
        return []
    corners = np.stack(boxes)
    for _ in range(quarters):
        corners = np.stack([corners[..., 1], -corners[..., 0]], axis=-1)
    edges = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return [int(i) for i in _ordered(edges, np.arange(len(edges)))]


def _ordered(edges: Edges, among: NDArray[np.int64]) -> list[int]:
    """Cut into columns where there are any, else at the widest blank band, else row by row."""
    box_edges = edges[among]
    if cut := _between_columns(box_edges):
        is_left = box_edges[:, 2] <= cut
        return _ordered(edges, among[is_left]) + _ordered(edges, among[~is_left])
    if (band := _widest_band(box_edges)) is not None:
        above = box_edges[:, 3] <= band
        return _ordered(edges, among[above]) + _ordered(edges, among[~above])
    return [int(i) for row in _rows(box_edges) for i in among[row]]


def _between_columns(box_edges: Edges) -> float | None:
    """Where a blank strip from top to bottom separates two columns."""
    for cut in _gaps(box_edges[:, 0], box_edges[:, 2]):
        is_left = box_edges[:, 2] <= cut
        if _is_column(box_edges[is_left]) and _is_column(box_edges[~is_left]):
            return cut
    return None


def _is_column(box_edges: Edges) -> bool:
    widths, heights = box_edges[:, 2] - box_edges[:, 0], box_edges[:, 3] - box_edges[:, 1]
    is_long = np.median(widths) >= _COLUMN_RATIO * np.median(heights) if len(box_edges) else False
    return len(box_edges) >= _LEAST_LINES and bool(is_long)


def _widest_band(box_edges: Edges) -> float | None:
    """The middle of the highest blank band across, unless cutting there changes nothing.

    Only a page that may have columns above or below is cut.
    """
    if len(box_edges) < 2 * _LEAST_LINES:
        return None
    gaps = _gaps(box_edges[:, 1], box_edges[:, 3], np.median(box_edges[:, 3] - box_edges[:, 1]))
    return gaps[0] if gaps else None


def _gaps(
    starts: NDArray[np.float32], ends: NDArray[np.float32], least: float = 1.0
) -> list[float]:
    """The middles of the gaps that no span covers, the widest first."""
    order = np.argsort(starts)
    reach = np.maximum.accumulate(ends[order])[:-1]
    widths = starts[order][1:] - reach
    gaps = sorted(((float(w), float(r)) for w, r in zip(widths, reach, strict=True) if w >= least))
    return [reached + width / 2 for width, reached in reversed(gaps)]


def _rows(box_edges: Edges) -> list[list[int]]:
    """Rows from top to bottom, each from left to right."""
    rows: list[list[int]] = []
    for i in np.argsort(box_edges[:, 1] + box_edges[:, 3], kind="stable"):
        if rows and _share(box_edges[rows[-1][-1]], box_edges[i]) >= _SAME_ROW:
            rows[-1].append(int(i))
        else:
            rows.append([int(i)])
    return [sorted(row, key=lambda i: float(box_edges[i, 0])) for row in rows]


def _share(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """How much of the shorter one's height two boxes share."""
    common = min(a[3], b[3]) - max(a[1], b[1])
    return float(common / max(1.0, min(a[3] - a[1], b[3] - b[1])))
