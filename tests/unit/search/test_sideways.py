"""A picture on its side finds the picture that it was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from encoder.space import Sideways, Space
from encoder.types import IMAGE, Embeddings, Item
from search import Query, SearchEngine
from search.store.memory import MemoryStore
from search.types import AssetRow, SegmentRow

DIM = 8
WIDE, TALL = (2, 4), (4, 2)


class Corners:
    """Embeds a picture by the brightness of its first corner; tall ones seem to lie on a side."""

    def __init__(self, limit: float) -> None:
        direction = np.zeros(DIM, np.float32)
        direction[7] = 1.0
        self.space = Space(DIM, {}, sideways=Sideways(direction, limit))
        self.n_encoded = 0

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        self.n_encoded += len(items)
        return np.stack([embedding(item.content) for item in items])


def embedding(rgb: NDArray[np.uint8]) -> Embeddings:
    row = np.zeros(DIM, np.float32)
    row[rgb[0, 0, 0]] = 0.8
    row[7 if rgb.shape[0] > rgb.shape[1] else 6] = 0.6
    return row


def picture(first: int, size: tuple[int, int] = WIDE) -> NDArray[np.uint8]:
    """All 0 but the first corner."""
    rgb = np.zeros((*size, 3), np.uint8)
    rgb[0, 0] = first
    return rgb


@pytest.mark.parametrize(
    ("asked", "limit", "best", "n_encoded"),
    [
        (np.rot90(picture(3)), 0.5, "three", 3),
        (np.rot90(picture(3), 3), 0.5, "three", 3),
        (picture(3), 0.5, "three", 1),
        (picture(4, TALL), 0.5, "tall", 3),  # one that is stored as it is
        (np.rot90(picture(3)), 0.9, "tall", 1),
    ],
)
def test_a_picture_is_turned_if_that_finds_a_nearer_one(
    asked: NDArray[np.uint8], limit: float, best: str, n_encoded: int
) -> None:
    store, encoder = MemoryStore(DIM), Corners(limit)
    stored = {"three": picture(3), "five": picture(5), "tall": picture(4, TALL)}
    for name, rgb in stored.items():
        row = SegmentRow(f"{name}-0", name, IMAGE, 0, embedding(rgb))
        store.write([AssetRow(name, IMAGE, "image/png", 1, 1, [f"/{name}"])], [row])
    hits = SearchEngine(encoder, store).search(Query([Item(IMAGE, asked)])).hits
    assert (hits[0].asset_id, encoder.n_encoded) == (best, n_encoded)
