"""Random crops of a few pictures, so that a network can be tuned on them without memorising them.

As in the training of ImageNet networks: a crop of a quarter to all of the picture, mirrored half of
the time (Szegedy et al. 2015); half of the batches are blended with themselves (mixup, Zhang et al.
2018). No label is needed, since the original network answers for every blend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.quant.networks.pictures import normalize
from encoder.media.image import resize

_LEAST_AREA = 0.25
_GREATEST_ASPECT = 4 / 3
_BLENDED = 0.5
_BLEND_SHAPE = 0.4


def crops(
    pictures: Sequence[NDArray[np.uint8]], side: int, n_per_batch: int, seed: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Batches without end, float32 [n_per_batch, 3, side, side], normalised.

    Args:
        pictures: uint8 [height, width, 3] each; at least ``n_per_batch``.
        side: of the crops once they are scaled.
        n_per_batch: pictures in a batch, all different.
        seed: of everything random.
    """
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(pictures))
        for start in range(0, len(order) - n_per_batch + 1, n_per_batch):
            chosen = order[start : start + n_per_batch]
            batch = normalize(np.stack([_crop(pictures[i], side, rng) for i in chosen]))
            yield _blend(batch, rng) if rng.random() < _BLENDED else batch


def _crop(picture: NDArray[np.uint8], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    box = random_box(width, height, rng)
    square = resize(picture, side, side, box=box).transpose(2, 0, 1)
    return square[:, :, ::-1] if rng.random() < 0.5 else square


def random_box(
    width: int, height: int, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """A box (left, top, right, bottom) of at least a quarter of the area, of 3:4 to 4:3."""
    area = rng.uniform(_LEAST_AREA, 1) * width * height
    aspect = np.exp(rng.uniform(-1, 1) * np.log(_GREATEST_ASPECT))
    own_width = min(width, np.sqrt(area * aspect))
    own_height = min(height, np.sqrt(area / aspect))
    left, top = rng.uniform(0, width - own_width), rng.uniform(0, height - own_height)
    return left, top, left + own_width, top + own_height


def _blend(batch: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    part = np.float32(rng.beta(_BLEND_SHAPE, _BLEND_SHAPE))
    return part * batch + (1 - part) * batch[::-1]
