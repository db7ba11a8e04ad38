"""Where lines of text are, and in which order they are read. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Box: TypeAlias = NDArray[np.float32]
"""The corners of a line, float32 [4, 2] as (x, y) in pixels: top left, top right, bottom right,
bottom left, as its text is read."""

_THRESHOLD = 0.3
"""Above it a pixel belongs to a core (as the detector was trained)."""

_LEAST_MEAN = 0.6
"""Cores below this mean probability are no text."""

_GROWTH = 1.5
"""A core grows on each side by this many times its area divided by its circumference."""

_LEAST_SIDE = 3.0
"""Thinner cores are specks."""

_COARSE_DEGREES = np.arange(-45.0, 45.0)
_FINE_DEGREES = np.arange(-1.0, 1.01, 0.1)


def find_boxes(probabilities: NDArray[np.float32], max_boxes: int) -> list[Box]:
    """The lines of text in a map [height, width], the largest ``max_boxes`` of them."""
    from scipy import ndimage

    cores, n_cores = ndimage.label(probabilities > _THRESHOLD, np.ones((3, 3)))
    if not n_cores:
        return []
    boxes_by_area: list[tuple[float, Box]] = []
    for number, bounds in enumerate(ndimage.find_objects(cores), start=1):
        core = cores[bounds] == number
        if probabilities[bounds][core].mean(dtype=np.float64) < _LEAST_MEAN:
            continue
        rows, columns = bounds
        outline = _outline(core) + np.array([columns.start, rows.start])
        width, height, box = _grown(outline)
        if min(width, height) >= _LEAST_SIDE:
            boxes_by_area.append((width * height, box))
    boxes_by_area.sort(key=lambda area_and_box: -area_and_box[0])
    return [box for _, box in boxes_by_area[:max_boxes]]


def scaled(box: Box, x: float, y: float) -> Box:
    """The box in a picture that is ``x`` times wider and ``y`` times higher."""
    return box * np.array([x, y], np.float32)


def from_side(box: Box, picture: NDArray[np.uint8]) -> Box:
    """The box in a picture of a box in its copy that is turned to the left by `numpy.rot90`."""
    corners = np.stack([picture.shape[1] - box[:, 1], box[:, 0]], axis=1)
    return np.roll(corners, 1, axis=0)  # the upper left one of the picture comes first


def size_of(box: Box) -> tuple[float, float]:
    """Width and height of a box, along its line and across it."""
    across, down = box[1] - box[0], box[3] - box[0]
    return float(np.hypot(*across)), float(np.hypot(*down))


def _outline(core: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The corners of the first and the last pixel of each row, [n, 2] as (x, y)."""
    rows = np.arange(len(core), dtype=np.float32)
    first = core.argmax(axis=1).astype(np.float32)
    last = core.shape[1] - core[:, ::-1].argmax(axis=1).astype(np.float32)
    corners = [(first, rows), (first, rows + 1), (last, rows), (last, rows + 1)]
    return np.concatenate([np.stack(corner, axis=1) for corner in corners])


def _grown(outline: NDArray[np.float32]) -> tuple[float, float, Box]:
    """Width, height and grown corners of the smallest rectangle around points.

    Width and height are those before it grew.
    """
    degrees = _best(outline, _COARSE_DEGREES)
    degrees = _best(outline, degrees + _FINE_DEGREES)
    across, down = _axes(np.array([degrees]))
    x, y = outline @ across[0], outline @ down[0]
    left, right, top, bottom = x.min(), x.max(), y.min(), y.max()
    width, height = float(right - left), float(bottom - top)
    by = width * height * _GROWTH / (2 * (width + height))
    corners = np.array(
        [
            (left - by, top - by),
            (right + by, top - by),
            (right + by, bottom + by),
            (left - by, bottom + by),
        ]
    )
    box = corners @ np.stack([across[0], down[0]])
    return width, height, box.astype(np.float32)


def _best(outline: NDArray[np.float32], degrees: NDArray[np.float64]) -> float:
    """The angle at which the rectangle around the points is smallest; the least of equals."""
    across, down = _axes(degrees)
    areas = np.ptp(outline @ across.T, axis=0) * np.ptp(outline @ down.T, axis=0)
    return float(min(zip(areas.round(1), abs(degrees), degrees, strict=True))[2])


def _axes(degrees: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors along and across lines at these angles, [n, 2] each as (x, y)."""
    turn = np.deg2rad(degrees)
    across = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return across, np.stack([-across[:, 1], across[:, 0]], axis=1)


HEIGHT = 48
"""The recognizer takes lines of this height in pixels."""

MAX_WIDTH = 3200
"""A longer line is squeezed, so that a run of the recognizer stays small."""

_TALL = 1.5
"""Boxes this many times higher than wide hold a line that runs up or down."""

_LEVEL_PX = 1.0
"""A line that rises by less over its length is cut out without turning it."""


def is_tall(box: Box) -> bool:
    """Whether the line runs up or down."""
    width, height = size_of(box)
    return height >= _TALL * width


def turned(box: Box, quarters: int) -> Box:
    """The box of the same line, read after this many quarter turns of the page to the left."""
    return np.roll(box, -quarters, axis=0)


def line_width(box: Box) -> int:
    """How wide the line will be when it is cut out."""
    width, height = size_of(box)
    return min(MAX_WIDTH, max(1, round(HEIGHT * width / max(height, 1.0))))


def crop(picture: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Cut out a line of a picture, uint8 RGB [HEIGHT, width, 3]."""
    from PIL import Image

    size = line_width(box), HEIGHT
    # Pillow copies what it is given: only the line and what its filter sees around it.
    reach = 2 * max(1, round(size_of(box)[1] / HEIGHT)) + 2
    sides = picture.shape[1], picture.shape[0]
    left, top = (int(x) for x in np.clip(box.min(axis=0) - reach, 0, np.subtract(sides, 1)))
    right, bottom = (int(x) for x in np.clip(box.max(axis=0) + reach, (left + 1, top + 1), sides))
    image = Image.fromarray(picture[top:bottom, left:right])
    box = box - np.array([left, top], np.float32)
    along, down = box[1] - box[0], box[3] - box[0]
    is_upright = along[0] > 0 and down[1] > 0
    if is_upright and max(abs(along[1]), abs(down[0])) < _LEVEL_PX:
        left, top = np.clip(box[0], 0, np.subtract(image.size, 1))
        right, bottom = np.clip(box[2], (left + 1, top + 1), image.size)
        edges = float(left), float(top), float(right), float(bottom)
        return np.asarray(image.resize(size, Image.Resampling.BICUBIC, box=edges))
    # Turned at its own size and then scaled: to do both at once would leave pixels out.
    width, height = (max(1, round(side)) for side in size_of(box))
    (x, y), along, down = box[0], along / width, down / height
    places = (along[0], down[0], x, along[1], down[1], y)
    line = image.transform(
        (width, height), Image.Transform.AFFINE, places, Image.Resampling.BICUBIC
    )
    return np.asarray(line.resize(size, Image.Resampling.BICUBIC))


BoxEdges = NDArray[np.float32]
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
    the other. ``quarters`` turns to the left make the page upright.
    """
    if not boxes:
        return []
    corners = np.stack(boxes)
    for _ in range(quarters):
        corners = np.stack([corners[..., 1], -corners[..., 0]], axis=-1)
    corners = _level(corners)
    edges = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return [int(i) for i in _ordered(edges, np.arange(len(edges)))]


def _level(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Corners on a page turned by the slope of its lines, [n, 4, 2]; long ones count for more.

    The rows of a page that slopes would overlap.
    """
    along = corners[:, 1] - corners[:, 0]
    along = along[along[:, 0] > np.abs(along[:, 1])]
    if not len(along):
        return corners
    order = np.argsort(along[:, 1] / along[:, 0])
    lengths = np.cumsum(along[order, 0])
    x, y = along[order[np.searchsorted(lengths, lengths[-1] / 2)]]
    turn = np.array([[x, -y], [y, x]], np.float32) / np.hypot(x, y)
    return np.asarray(corners @ turn, np.float32)


def _ordered(edges: BoxEdges, among: NDArray[np.int64]) -> list[int]:
    """Cut into columns where there are any, else at the widest blank band, else row by row."""
    box_edges = edges[among]
    if cut := _between_columns(box_edges):
        is_left = box_edges[:, 2] <= cut
        return _ordered(edges, among[is_left]) + _ordered(edges, among[~is_left])
    if (band := _widest_band(box_edges)) is not None:
        above = box_edges[:, 3] <= band
        return _ordered(edges, among[above]) + _ordered(edges, among[~above])
    return [int(i) for row in _rows(box_edges) for i in among[row]]


def _between_columns(box_edges: BoxEdges) -> float | None:
    """Where a blank strip from top to bottom separates two columns."""
    for cut in _gaps(box_edges[:, 0], box_edges[:, 2]):
        is_left = box_edges[:, 2] <= cut
        if _is_column(box_edges[is_left]) and _is_column(box_edges[~is_left]):
            return cut
    return None


def _is_column(box_edges: BoxEdges) -> bool:
    widths, heights = box_edges[:, 2] - box_edges[:, 0], box_edges[:, 3] - box_edges[:, 1]
    is_long = np.median(widths) >= _COLUMN_RATIO * np.median(heights) if len(box_edges) else False
    return len(box_edges) >= _LEAST_LINES and bool(is_long)


def _widest_band(box_edges: BoxEdges) -> float | None:
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


def _rows(box_edges: BoxEdges) -> list[list[int]]:
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
