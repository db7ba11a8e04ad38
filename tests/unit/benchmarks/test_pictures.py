from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.quant.networks.pictures import (
    Pictures,
    classes_of,
    middle_square,
    normalize,
    read_square,
)
from encoder.towers.picture.tower import ImageTower
from encoder.towers.picture.tower import middle_square as tower_square


class NoSession:
    def run(self, inputs: object) -> list[np.ndarray]:
        raise AssertionError(f"the network was asked: {inputs}")


def test_an_eighth_of_the_classes_calibrates_and_the_rest_judges() -> None:
    fitted, judged = classes_of("calibration"), classes_of("evaluation")
    assert (len(fitted), len(judged)) == (125, 875)
    assert sorted([*fitted, *judged]) == list(range(1000))
    assert all(fitted % 8 == 0)


def test_lite2_sees_what_the_image_tower_sees(tmp_path: Path) -> None:
    assert middle_square(640, 480, 260) == tower_square(640, 480)
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    expected = ImageTower(NoSession(), np.eye(2)).prepare(pixels)
    np.testing.assert_array_equal(normalize(read_square(tmp_path / "noise.png", 260)), expected)


def test_batches_cover_all_pictures_in_order() -> None:
    squares = np.arange(7, dtype=np.uint8).repeat(12).reshape(7, 3, 2, 2)
    batches = list(Pictures(squares, np.arange(7)).batches(3))
    assert [len(labels) for _, labels in batches] == [3, 3, 1]
    assert [pixels.dtype for pixels, _ in batches] == [np.float32] * 3
    restored = np.concatenate([pixels for pixels, _ in batches]) * 128 + 127
    np.testing.assert_array_equal(restored, squares)
