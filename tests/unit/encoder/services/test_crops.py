import numpy as np
import pytest
from PIL import Image

from encoder.services.boxes import HEIGHT, MAX_WIDTH, Box, crop, is_tall, line_width, turned


def box_of(left: float, top: float, right: float, bottom: float) -> Box:
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return np.array(corners, np.float32)


@pytest.fixture(scope="module")
def stripes() -> np.ndarray:
    """A picture whose red grows to the right and whose green grows downwards."""
    y, x = np.mgrid[:200, :250]
    return np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8)


def test_a_level_line_is_scaled_to_the_height_of_the_recognizer(stripes: np.ndarray) -> None:
    line = crop(stripes, box_of(20, 50, 120, 74))
    assert line.shape == (HEIGHT, 200, 3)
    assert line[24, [5, 195], 0] == pytest.approx([22, 117], abs=2)
    assert line[[2, 45], 100, 1] == pytest.approx([51, 73], abs=2)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_box_shows_the_line_turned(stripes: np.ndarray, quarters: int) -> None:
    side = 60
    square = box_of(40, 40, 40 + side, 40 + side)
    expected = np.asarray(
        Image.fromarray(np.rot90(stripes[40:100, 40:100], quarters).copy()).resize((HEIGHT, HEIGHT))
    )
    found = crop(stripes, turned(square, quarters))
    assert np.abs(found[3:-3, 3:-3].astype(int) - expected[3:-3, 3:-3]).max() <= 3


def test_a_slanting_line_is_cut_out_level(stripes: np.ndarray) -> None:
    turn = np.deg2rad(20)
    across, down = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    start = np.array([50, 60])
    corners = [start, start + 100 * across, start + 100 * across + 20 * down, start + 20 * down]
    line = crop(stripes, np.array(corners, np.float32))
    assert line.shape == (HEIGHT, 240, 3)
    middle = start + 50 * across + 10 * down
    assert line[24, 120, :2] == pytest.approx(middle, abs=2)


def test_what_lies_beyond_the_picture_is_left_out(stripes: np.ndarray) -> None:
    assert crop(stripes, box_of(-30, -4, 20, 20)).min(axis=(0, 1))[0] == 0
    assert crop(stripes, box_of(300, 300, 340, 320)).shape == (HEIGHT, 96, 3)


def test_long_lines_are_pressed_together() -> None:
    assert line_width(box_of(0, 0, 5000, 10)) == MAX_WIDTH
    assert is_tall(box_of(0, 0, 10, 40))
    assert not is_tall(box_of(0, 0, 40, 10))
