"""Pictures drawn on the spot: ours, so there is no licence to comply with."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

_SEED = 2


def wall_clock() -> Image:
    """A round clock with hands at nine minutes past ten."""
    image, draw = _canvas(480, 480, "#beaa8c")
    draw.ellipse((40, 40, 440, 440), fill="#3c2819")
    draw.ellipse((62, 62, 418, 418), fill="#f5f2e6")
    for hour in range(1, 13):
        place = _on_circle(hour / 12, 145)
        draw.text(place, str(hour), fill="black", font=_font(36), anchor="mm")
    for minute in range(60):
        ends = (_on_circle(minute / 60, 168), _on_circle(minute / 60, 176))
        draw.line(ends, fill="black", width=2 if minute % 5 else 4)
    for turn, length, width in ((10.15 / 12, 90, 10), (9 / 60, 135, 6)):
        draw.line(((240, 240), _on_circle(turn, length)), fill="black", width=width)
    draw.ellipse((230, 230, 250, 250), fill="black")
    return image


def traffic_light() -> Image:
    """A traffic light that shows red."""
    image, draw = _canvas(480, 480, "#96bee6")
    draw.rectangle((228, 400, 252, 480), fill="#323232")
    draw.rounded_rectangle((165, 40, 315, 410), 24, fill="#23231e")
    for y, colour in ((100, "#eb281e"), (225, "#5a5014"), (350, "#144628")):
        draw.ellipse((190, y - 50, 290, y + 50), fill=colour)
    return _soft(image, 1.0)


def crossword() -> Image:
    """A crossword puzzle, half solved."""
    image, draw = _canvas(480, 480, "white")
    random = np.random.default_rng(_SEED)
    for row, column in np.ndindex(13, 13):
        x, y = 19 + column * 34, 19 + row * 34
        black = (row % 2 and column % 2) or random.random() < 0.06
        square = (x, y, x + 34, y + 34)
        draw.rectangle(square, fill="black" if black else "white", outline="black", width=2)
        if not black and random.random() < 0.5:
            letter = chr(65 + int(random.integers(26)))
            draw.text((x + 17, y + 17), letter, fill="#28285a", font=_font(20), anchor="mm")
    return image


def candle() -> Image:
    """A burning candle in the dark."""
    y, x = np.mgrid[:480, :400]
    glow = np.exp(-(((x - 200) / 120) ** 2 + ((y - 170) / 150) ** 2))
    pixels = glow[..., None] * np.array([120.0, 70.0, 20.0])
    body = (abs(x - 200) < 32) & (y > 230)
    pixels[body] = np.array([235, 220, 180]) * (1 - (y[body] - 230) / 500)[:, None]
    narrowing = 18 * (1 - np.clip((190 - y) / 130, 0, 1)) + 1e-3
    pixels[((x - 200) / narrowing) ** 2 + ((y - 185) / 70) ** 2 < 1] = (255, 225, 130)
    pixels[(abs(x - 200) < 2) & (y > 200) & (y < 232)] = (40, 30, 20)
    return _soft(_from_array(pixels), 1.5)


def _canvas(width: int, height: int, colour: str) -> tuple[Image, ImageDraw]:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, height), colour)
    return image, ImageDraw.Draw(image)


def _from_array(pixels: np.ndarray) -> Image:
    from PIL import Image

    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _soft(image: Image, radius: float) -> Image:
    from PIL import ImageFilter

    return image.filter(ImageFilter.GaussianBlur(radius))


def _font(size: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size=size)


def _on_circle(turn: float, radius: float, centre: float = 240) -> tuple[float, float]:
    """A point at ``turn`` (0 to 1, clockwise from the top) of a circle."""
    return centre + radius * sin(2 * pi * turn), centre - radius * cos(2 * pi * turn)


PICTURES: dict[str, Callable[[], Image]] = {
    "wall-clock.png": wall_clock,
    "traffic-light.gif": traffic_light,
    "crossword.webp": crossword,
}
"""Each drawing by its file name."""
