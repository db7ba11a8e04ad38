"""Pictures with a head: two rows each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from encoder.models.bundle.kinds import IMAGE_HEAD
from encoder.onnx.convolutions import LITE2
from encoder.runtime.base import Array
from encoder.space import l2_normalize
from encoder.towers.image import (
    NAMED_SHARE,
    SETTINGS,
    ImageHead,
    ImageHeadTower,
    conse,
    load_image_head,
)

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


def test_shipped_head_fits_the_network_and_the_space() -> None:
    head = load_image_head(IMAGE_HEAD)

    n_features = LITE2.n_classes + 120 + 208 + 352 + 1280
    assert head.weight.shape == (n_features, 384)
    assert head.mean.shape == head.scale.shape == (n_features,)
    assert head.labels.shape == (LITE2.n_classes, 384)
    assert IMAGE_HEAD.stat().st_size < 5_000_000
    golden, labrador, teapot = l2_normalize(head.labels[[207, 208, 849]])
    assert golden @ labrador > golden @ teapot + 0.3
    np.testing.assert_allclose(head.labels.mean(axis=0), 0, atol=1e-4)
