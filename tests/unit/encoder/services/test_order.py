import numpy as np

from encoder.services.boxes import Box, reading_order


def box_of(left: float, top: float, width: float, height: float = 20) -> Box:
    right, bottom = left + width, top + height
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)


def test_rows_are_read_from_left_to_right() -> None:
    boxes = [box_of(200, 4, 50), box_of(0, 40, 80), box_of(0, 0, 60), box_of(120, 44, 60)]
    assert reading_order(boxes) == [2, 0, 1, 3]
    assert reading_order([]) == []


def test_columns_are_read_one_after_the_other() -> None:
    heading = [box_of(0, 0, 700)]
    left = [box_of(0, 60 + 30 * i, 300) for i in range(4)]
    right = [box_of(400, 65 + 30 * i, 300) for i in range(4)]
    mixed = [box for pair in zip(right, left, strict=True) for box in pair]
    order = reading_order([*mixed, *heading])
    assert order == [8, 1, 3, 5, 7, 0, 2, 4, 6]


def test_tables_are_read_row_by_row() -> None:
    cells = [box_of(200 * column, 40 * row, 60) for row in range(5) for column in range(3)]
    assert reading_order(cells) == list(range(15))


def test_a_page_that_lies_on_its_side_is_read_as_if_upright() -> None:
    # Turned to the right: what was on top is now at the right, its lines run downwards.
    lines = [
        np.array([(x, 0), (x + 20, 0), (x + 20, 300), (x, 300)], np.float32) for x in (0, 40, 80)
    ]
    assert reading_order(lines, 1) == [2, 1, 0]
    assert reading_order(lines, 3) == [0, 1, 2]
    level = [box_of(0, 40 * row, 200) for row in range(3)]
    assert reading_order(level, 2) == [2, 1, 0]
