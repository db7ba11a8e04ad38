"""Pictures by EfficientNet-Lite2's classes and the places of their names in the space (ConSE)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.models.precision import Network
from encoder.models.sources.bundle.int8 import image_identity
from encoder.models.sources.bundle.kinds.base import Kind, Opening
from encoder.models.sources.bundle.networks import files_of
from encoder.towers.picture.tower import SIDE, ImageTower

if TYPE_CHECKING:
    from encoder.runtime.trial import Inputs


def network(folder: Path) -> Network:
    """Its files."""
    return Network(
        "image", **files_of(folder), examples=_examples, side_by_side=True, on_openvino=True
    )


def image_labels(path: Path) -> NDArray[np.float16]:
    """The places of the image network's classes in the space, [n_classes, embed_dim]."""
    with np.load(path, allow_pickle=False) as tables:
        labels: NDArray[np.float16] = tables["embeddings"]
    return labels


def _open(opening: Opening) -> ImageTower:
    session = opening.precision.open(network(opening.folder), opening.n_threads)
    return ImageTower(session, image_labels(opening.part.tables["labels"]))


def _examples() -> Sequence[Inputs]:
    """A picture."""
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 3, SIDE, SIDE))
    return [{"pixels": pixels.astype(np.float32)}]


KIND = Kind(
    open=_open,
    prepare="encoder.models.prepare.bundle.graphs:prepare_image",
    network=network,
    int8_identity=image_identity,
    torch_network="encoder.models.prepare.bundle.networks:image_network",
)
