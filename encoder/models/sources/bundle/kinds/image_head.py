"""Pictures as people describe them: a head on EfficientNet-Lite2, in the space of e5."""

from __future__ import annotations

from pathlib import Path

from encoder.models.precision import Precision
from encoder.models.sources.bundle.int8 import image_identity
from encoder.models.sources.bundle.kinds.base import Kind, Opening
from encoder.models.sources.bundle.kinds.conse import network
from encoder.models.sources.bundle.tables import TABLES
from encoder.towers.picture.head import ImageHeadTower, load_image_head

HEAD = TABLES / "image_head.npz"
"""Made by ``scripts/train_picture_head.py``."""


def open_image_head(
    folder: Path,
    *,
    head: Path = HEAD,
    precision: Precision | None = None,
    n_threads: int | None = None,
) -> ImageHeadTower:
    """Open the part in ``folder``, made ready by `KIND`'s ``prepare``.

    Args:
        folder: the part's folder.
        head: the table.
        precision: float32 by default.
        n_threads: threads of one run; None for every core.

    Raises:
        ModelError: a file is missing or cannot be run.
    """
    session = (precision or Precision()).open(network(folder), n_threads)
    return ImageHeadTower(session, load_image_head(head))


def _open(opening: Opening) -> ImageHeadTower:
    return open_image_head(
        opening.folder,
        head=opening.part.tables["head"],
        precision=opening.precision,
        n_threads=opening.n_threads,
    )


KIND = Kind(
    open=_open,
    prepare="encoder.models.prepare.bundle.graphs:prepare_image_with_features",
    network=network,
    int8_identity=image_identity,
)
