"""Check files for phones against the server's towers: texts and pictures go through both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.models.base import Model
from encoder.models.mobile.described import NETWORKS
from encoder.models.mobile.graphs import PICTURE
from encoder.runtime.onnx import OnnxSession
from encoder.towers.text.tower import MAX_TOKENS, inputs_of
from encoder.types import IMAGE, TEXT

Rows = NDArray[np.float32]
"""Unit rows."""

_TEXTS = (
    "a dog",
    "A red bicycle leans against the wall of an old mill.",
    "Rain fell on the harbour all night, and the boats stayed in. " * 6,
)
_SIZES = ((240, 320), (260, 200), (260, 260))
"""Pillow scales rows before columns in all of them; see `encoder.models.mobile.graphs`."""


def of_networks(model: Model, folder: Path) -> dict[str, float]:
    """The least cosine of each ONNX file's rows with the server's.

    Args:
        model: of the server, in the precision of the files.
        folder: with the files.
    """
    text, image = (OnnxSession(folder / NETWORKS[one], n_threads=1) for one in (TEXT, IMAGE))
    return {
        NETWORKS[TEXT]: _texts(model, lambda tokens: text.run(inputs_of([tokens]))[0]),
        NETWORKS[IMAGE]: _pictures(model, lambda rgb: image.run({PICTURE: rgb})[0]),
    }


def _texts(model: Model, run: Callable[[NDArray[np.int64]], Rows]) -> float:
    tower = model.towers[TEXT]
    tokens = [np.asarray(tower.prepare(text), np.int64)[:MAX_TOKENS] for text in _TEXTS]
    return min(_cosine(tower.forward([one]).rows, run(one)) for one in tokens)


def _pictures(model: Model, run: Callable[[NDArray[np.uint8]], Rows]) -> float:
    tower = model.towers[IMAGE]
    pictures = [_waves(*sides) for sides in _SIZES]
    return min(_cosine(tower.forward([tower.prepare(one)]).rows, run(one)) for one in pictures)


def _cosine(wanted: Rows, found: Rows) -> float:
    """The least cosine of rows that should be alike."""
    return float((wanted * found).sum(axis=1).min())


def _waves(height: int, width: int) -> NDArray[np.uint8]:
    """A smooth picture, uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    planes = [np.sin(x / 37 + y / 51), np.cos(y / 43), np.sin(x / 29) * np.cos(y / 61)]
    return np.asarray(127 + 100 * np.stack(planes, axis=2), np.uint8)
