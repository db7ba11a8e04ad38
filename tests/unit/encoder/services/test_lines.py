"""Where lines of text are, how they are cut out, in which order they are read, what they say."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from encoder.services.boxes import (
    HEIGHT,
    MAX_WIDTH,
    Box,
    crop,
    find_boxes,
    from_side,
    is_tall,
    line_width,
    reading_order,
    size_of,
    turned,
)
from encoder.services.reader import read_characters, spell


def drawn(*bars: tuple[float, float, float, float, float], size: int = 400) -> np.ndarray:
    """Bars (x, y of the middle, width, height, degrees) of probability .9."""
    image = Image.new("F", (size, size))
    draw = ImageDraw.Draw(image)
    for x, y, width, height, degrees in bars:
        turn = np.deg2rad(degrees)
        across, down = (
            np.array([np.cos(turn), np.sin(turn)]),
            np.array([-np.sin(turn), np.cos(turn)]),
        )
        corners = [
            tuple((x, y) + a * width / 2 * across + b * height / 2 * down)
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        ]
        draw.polygon(corners, fill=0.9)
    return np.array(image, np.float32)


@pytest.mark.parametrize("degrees", [0.0, 3.3, -12.0, 40.0])
def test_a_box_is_turned_as_its_line_is(degrees: float) -> None:
    (box,) = find_boxes(drawn((200, 200, 160, 12, degrees)), 10)
    along = box[1] - box[0]
    assert np.rad2deg(np.arctan2(along[1], along[0])) == pytest.approx(degrees, abs=0.6)
    assert box.mean(axis=0) == pytest.approx((200, 200), abs=1.5)


def test_a_box_grows_from_the_core_of_its_line_to_its_letters() -> None:
    (box,) = find_boxes(drawn((200, 200, 160, 12, 0)), 10)
    by = 1.5 * 161 * 13 / (2 * (161 + 13))  # the bar's pixels at its edges count whole
    assert size_of(box) == pytest.approx((161 + 2 * by, 13 + 2 * by), abs=1.5)


def test_specks_and_faint_cores_are_no_lines() -> None:
    faint = 0.5 * drawn((200, 300, 160, 12, 0))
    assert find_boxes(drawn((50, 50, 2, 1, 0)) + faint, 10) == []
    assert find_boxes(np.zeros((64, 64), np.float32), 10) == []


def test_the_largest_boxes_are_kept() -> None:
    seen = drawn((200, 60, 40, 10, 0), (200, 200, 300, 20, 0), (200, 320, 100, 14, 0))
    heights = [float(box[:, 1].mean()) for box in find_boxes(seen, 2)]
    assert heights == pytest.approx([200, 320], abs=1.5)


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


def test_a_box_of_the_picture_on_its_side_is_found_in_the_picture(stripes: np.ndarray) -> None:
    on_side = box_of(50, 120, 150, 140)
    box = from_side(on_side, stripes)
    assert is_tall(box)
    assert box[0] == pytest.approx(box.min(axis=0))
    expected = crop(np.rot90(stripes).copy(), on_side).astype(int)
    found = crop(stripes, turned(box, 1)).astype(int)
    assert np.abs(found - expected).mean() < 3


def test_what_lies_beyond_the_picture_is_left_out(stripes: np.ndarray) -> None:
    assert crop(stripes, box_of(-30, -4, 20, 20)).min(axis=(0, 1))[0] == 0
    assert crop(stripes, box_of(300, 300, 340, 320)).shape == (HEIGHT, 96, 3)


def test_long_lines_are_pressed_together() -> None:
    assert line_width(box_of(0, 0, 5000, 10)) == MAX_WIDTH
    assert is_tall(box_of(0, 0, 10, 40))
    assert not is_tall(box_of(0, 0, 40, 10))


def line_at(left: float, top: float, width: float, height: float = 20) -> Box:
    right, bottom = left + width, top + height
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)


def test_rows_are_read_from_left_to_right() -> None:
    boxes = [line_at(200, 4, 50), line_at(0, 40, 80), line_at(0, 0, 60), line_at(120, 44, 60)]
    assert reading_order(boxes) == [2, 0, 1, 3]
    assert reading_order([]) == []


def test_columns_are_read_one_after_the_other() -> None:
    heading = [line_at(0, 0, 700)]
    left = [line_at(0, 60 + 30 * i, 300) for i in range(4)]
    right = [line_at(400, 65 + 30 * i, 300) for i in range(4)]
    mixed = [box for pair in zip(right, left, strict=True) for box in pair]
    order = reading_order([*mixed, *heading])
    assert order == [8, 1, 3, 5, 7, 0, 2, 4, 6]


def test_tables_are_read_row_by_row() -> None:
    cells = [line_at(200 * column, 40 * row, 60) for row in range(5) for column in range(3)]
    assert reading_order(cells) == list(range(15))


def test_a_page_that_lies_on_its_side_is_read_as_if_upright() -> None:
    # Turned to the right: what was on top is now at the right, its lines run downwards.
    lines = [
        np.array([(x, 0), (x + 20, 0), (x + 20, 300), (x, 300)], np.float32) for x in (0, 40, 80)
    ]
    assert reading_order(lines, 1) == [2, 1, 0]
    assert reading_order(lines, 3) == [0, 1, 2]
    level = [line_at(0, 40 * row, 200) for row in range(3)]
    assert reading_order(level, 2) == [2, 1, 0]


@pytest.mark.parametrize("degrees", [-8, -5, 5, 8])
def test_lines_of_a_page_that_slopes_stay_in_order(degrees: int) -> None:
    turn = np.deg2rad(degrees)
    turned_by = np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))], np.float32)
    left = [line_at(0, 30 * row, 500) for row in range(12)]
    right = [line_at(560, 30 * row + 10, 500) for row in range(12)]
    for lines in (left, left + right):
        assert reading_order([box @ turned_by for box in lines]) == list(range(len(lines)))


def test_repeats_are_one_unless_nothing_is_between() -> None:
    best = np.array([1, 1, 0, 1, 2, 4, 4, 3, 0])
    sure = np.array([0.9, 0, 0, 0.8, 0.7, 0.9, 0, 0.7, 0], np.float32)
    text, confidence = spell(sure, best, ["", "a", "b", "c", " "])
    assert text == "aab c"
    assert confidence == pytest.approx(0.8)


def test_nothing_is_read_from_nothing() -> None:
    assert spell(np.ones(2, np.float32), np.zeros(2, np.int64), ["", "a"]) == ("", 0.0)


def test_characters_may_be_any_but_line_ends(tmp_path: Path) -> None:
    (tmp_path / "characters.txt").write_text("a\n\u3000\n\u2028\n", "utf-8")
    assert read_characters(tmp_path / "characters.txt") == ["", "a", "\u3000", "\u2028", " "]
