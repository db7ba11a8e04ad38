import numpy as np
import pytest
from PIL import Image, ImageDraw

from encoder.services.boxes import find_boxes, size_of


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
