"""Lines of text cut out of a picture, upright and of one height. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoder.ocr.boxes import Box, size_of

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
    """Cut out a line, uint8 RGB [HEIGHT, width, 3].

    Args:
        picture: uint8 RGB [height, width, 3].
        box: see `Box`.
    """
    from PIL import Image

    size = line_width(box), HEIGHT
    image = Image.fromarray(picture)
    if _is_level(box):
        edges = _inside(box, image.size)
        return np.asarray(image.resize(size, Image.Resampling.BICUBIC, box=edges))
    # Turned at its own size and then scaled: to do both at once would leave pixels out.
    width, height = (max(1, round(side)) for side in size_of(box))
    (x, y), along, down = box[0], (box[1] - box[0]) / width, (box[3] - box[0]) / height
    places = (along[0], down[0], x, along[1], down[1], y)
    line = image.transform(
        (width, height), Image.Transform.AFFINE, places, Image.Resampling.BICUBIC
    )
    return np.asarray(line.resize(size, Image.Resampling.BICUBIC))


def _is_level(box: Box) -> bool:
    along, down = box[1] - box[0], box[3] - box[0]
    is_upright = along[0] > 0 and down[1] > 0
    return bool(is_upright and max(abs(along[1]), abs(down[0])) < _LEVEL_PX)


def _inside(box: Box, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a level box, within a picture of this size."""
    left, top = np.clip(box[0], 0, np.subtract(size, 1))
    right, bottom = np.clip(box[2], (left + 1, top + 1), size)
    return float(left), float(top), float(right), float(bottom)
