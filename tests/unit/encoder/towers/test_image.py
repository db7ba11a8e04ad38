"""The image tower: geometry, ConSE, and the bundle's classifier."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import transformers

from encoder.runtime.base import Array
from encoder.space import l2_normalize
from encoder.towers.image import (
    NAMED_SHARE,
    SETTINGS,
    ConseSettings,
    ImageHead,
    ImageHeadTower,
    ImageTower,
    conse,
)
from encoder.towers.processors import open_pictures


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


RNG = np.random.default_rng(0)
N_LABELS, N_FEATURES, DIM = 30, 36, 8


class Network:
    """A session with logits and two more outputs, which are means of the pixels."""

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        pixels = inputs["pixels"]
        assert pixels.shape == (1, 3, 260, 260)
        columns = pixels.mean(axis=(1, 2))
        return [columns[:, :N_LABELS] * 20, columns[:, 100:102], columns[:, 200:204]]


def head_of() -> ImageHead:
    labels = RNG.normal(size=(N_LABELS, DIM))
    return ImageHead(
        mean=RNG.normal(size=N_FEATURES).astype(np.float32),
        scale=RNG.uniform(1, 2, N_FEATURES).astype(np.float32),
        weight=RNG.normal(size=(N_FEATURES, DIM)).astype(np.float32),
        labels=(labels - labels.mean(axis=0)).astype(np.float32),
    )


def pictures(n: int) -> list[Array]:
    return [RNG.integers(0, 255, (40, 50, 3), np.uint8) for _ in range(n)]


def test_each_picture_has_two_unit_rows_in_any_batch() -> None:
    tower = ImageHeadTower(Network(), head_of())
    prepared = [tower.prepare(picture) for picture in pictures(3)]

    rows = tower.forward(prepared).rows

    assert rows.shape == (3 * tower.n_rows, DIM)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    for index, one in enumerate(prepared):
        alone = tower.forward([one]).rows
        np.testing.assert_allclose(alone, rows[2 * index : 2 * index + 2], atol=1e-6)


def test_second_row_is_conse_and_first_the_head_mixed_with_it() -> None:
    head = head_of()
    tower = ImageHeadTower(Network(), head)
    pixels = tower.prepare(pictures(1)[0])

    described, named = tower.forward([pixels]).rows

    logits, *others = Network().run({"pixels": pixels[None]})
    features = np.concatenate([logits, *others], axis=1)
    np.testing.assert_allclose(named, conse(logits, head.labels, SETTINGS)[0], atol=1e-6)
    linear = l2_normalize((features - head.mean) * head.scale @ head.weight)
    mixed = l2_normalize(linear + NAMED_SHARE * named)
    np.testing.assert_allclose(described, mixed[0], atol=1e-6)


def test_patches_that_are_padding_in_every_picture_are_left_out(tmp_path: Path) -> None:
    processor = transformers.Gemma4ImageProcessor(max_soft_tokens=70)
    settings = {**processor.to_dict(), "image_processor_type": "Gemma4ImageProcessor"}
    path = tmp_path / "processor.json"
    path.write_text(json.dumps(settings, default=str))
    read = open_pictures(path, {"pixel_values": "float32", "image_position_ids": "int64"}, {})
    wide = np.zeros((100, 160, 3), np.uint8)
    made = read([wide])
    places = made["image_position_ids"]
    assert (places[0, -1] != -1).all()
    assert places.shape[1] < 70 * 9
    assert made["pixel_values"].shape[1] == places.shape[1]
    several = read([wide, np.zeros((90, 90, 3), np.uint8)])["image_position_ids"]
    assert (several[:, -1] != -1).any()
