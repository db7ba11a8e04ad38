"""The image tower: geometry, ConSE, and the bundle's classifier."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from encoder.runtime.base import Array
from encoder.towers.image import ConseSettings, ImageTower, conse, load


class Logits:
    """A session that returns its input."""

    def __init__(self, logits: list[float]) -> None:
        self._logits = np.array([logits], np.float32)

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        assert inputs["pixels"].shape == (1, 3, 260, 260)
        return [self._logits]


def test_prepare_looks_at_the_centre() -> None:
    picture = np.zeros((292, 1000, 3), np.uint8)
    picture[16:-16, 370:630] = 200

    pixels = ImageTower(Logits([0.0]), np.eye(1)).prepare(picture)

    # the resampling filter may reach over the border by a pixel
    assert (pixels[:, 2:-2, 2:-2] == np.float32(73 / 128)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (3, 260)])
def test_prepare_takes_any_shape(size: tuple[int, int]) -> None:
    pixels = ImageTower(Logits([0.0]), np.eye(1)).prepare(np.full((*size, 3), 9, np.uint8))

    assert pixels.shape == (3, 260, 260)


def test_conse_weighs_the_best_labels() -> None:
    labels = np.eye(4, dtype=np.float32)
    logits = np.log(np.array([[0.6, 0.3, 0.06, 0.04]], np.float32))

    (row,) = conse(logits, labels, ConseSettings(temperature=1.0, n_classes=2))

    np.testing.assert_allclose(row, np.array([2, 1, 0, 0]) / np.sqrt(5), atol=1e-6)


def test_huge_logits_do_not_overflow() -> None:
    (row,) = conse(
        np.array([[1e4, -1e4]], np.float32), np.eye(2, dtype=np.float32), ConseSettings(n_classes=2)
    )

    assert row.tolist() == [1.0, 0.0]


def test_forward_gives_unit_rows_and_distinguishes_pictures(bundle_home: Path) -> None:
    labels = np.random.default_rng(0).normal(size=(1000, 384)).astype(np.float16)
    tower = load(bundle_home / "image", labels, n_threads=1)
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 255, (40, 50, 3), np.uint8), np.full((300, 300, 3), 90, np.uint8)]

    rows = tower.forward([tower.prepare(p) for p in pictures]).rows

    assert rows.shape == (2, 384)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert rows[0] @ rows[1] < 0.9
