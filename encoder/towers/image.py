"""The image tower: an ImageNet classifier read as a sentence (ConSE, Norouzi et al. 2013).

The embedding of a picture is the mean of the sentence embeddings of the classes that the
classifier sees in it, weighted by their probabilities: zero-shot, without training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.media.image import resize
from encoder.runtime.base import Session, run_all
from encoder.runtime.onnx import OnnxSession
from encoder.space import l2_normalize
from encoder.towers.base import Encoded, Prepared
from encoder.types import Embeddings

SIDE = 260
"""EfficientNet-Lite2 takes squares with sides of this many pixels."""

CROP_PADDING = 32
MEAN, SCALE = 127.0, 128.0


@dataclass(frozen=True)
class ConseSettings:
    """How logits become an embedding: of the ``n_classes`` most probable classes.

    ``temperature`` divides the logits; above 1 the runners-up count for more.
    """

    temperature: float = 1.25
    n_classes: int = 5


class ImageTower:
    """Pictures to embeddings, by ``labels`` [n_labels, embed_dim].

    ``session`` takes ``pixels`` float32 [n, 3, SIDE, SIDE] and gives logits [n, n_labels].
    """

    def __init__(self, session: Session, labels: NDArray[np.floating]) -> None:
        self._session = session
        self._labels = labels.astype(np.float32)

    def prepare(self, content: NDArray[np.uint8]) -> NDArray[np.float32]:
        return to_pixels(content)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        # One by one: on a CPU, a stack of pictures only overflows the cache (36 ms each, not 25).
        outputs = run_all(self._session, [{"pixels": pixels[None]} for pixels in batch])
        logits = np.concatenate([scores for scores, *_ in outputs])
        return Encoded(conse(logits, self._labels, ConseSettings()))


def to_pixels(content: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The middle square of a picture as the network wants it, float32 [3, SIDE, SIDE]."""
    height, width = content.shape[:2]
    square = resize(content, SIDE, SIDE, box=middle_square(width, height))
    pixels = np.ascontiguousarray(square.transpose(2, 0, 1)).astype(np.float32)
    pixels -= MEAN
    pixels /= SCALE
    return pixels


def middle_square(width: int, height: int) -> tuple[float, float, float, float]:
    """The centre crop (left, top, right, bottom) that the network was tested with.

    >>> middle_square(292, 392)
    (16.0, 66.0, 276.0, 326.0)
    """
    side = min(width, height) * SIDE / (SIDE + CROP_PADDING)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def conse(
    logits: NDArray[np.float32], labels: NDArray[np.float32], settings: ConseSettings
) -> Embeddings:
    """Embed logits [n, n_labels] by the most probable labels [n_labels, embed_dim].

    Norouzi et al. 2013; unit rows [n, embed_dim].
    """
    n = settings.n_classes
    top = np.argpartition(logits, -n, axis=1)[:, -n:]
    best = np.take_along_axis(logits, top, axis=1) / settings.temperature
    # the softmax over the kept labels is the renormalised softmax over all
    weights = np.exp(best - best.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return l2_normalize(np.einsum("nk,nkd->nd", weights, labels[top]))


def load(folder: Path, labels: NDArray[np.floating], *, n_threads: int | None = None) -> ImageTower:
    """The image tower of a prepared folder that holds ``model.onnx``."""

    return ImageTower(OnnxSession(folder / "model.onnx", n_threads=n_threads), labels)


SETTINGS = ConseSettings(temperature=2.0, n_classes=20)
"""For labels minus their mean, which leaves more room between the classes."""

NAMED_SHARE = 0.5
"""The weight of ConSE in the first row, against 1 for the head."""


@dataclass(frozen=True)
class ImageHead:
    """A linear map from the outputs of a network with features to the space.

    Args:
        mean: of each feature, float32 [n_features]. The features are the network's outputs
            side by side, logits first, as `encoder.onnx.convolutions` orders them.
        scale: what a feature minus its mean is multiplied by, float32 [n_features].
        weight: float32 [n_features, embed_dim].
        labels: the places of the classes, float32 [n_labels, embed_dim]; of mean zero.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weight: NDArray[np.float32]
    labels: NDArray[np.float32]

    def describe(self, features: NDArray[np.float32]) -> Embeddings:
        """Features [n, n_features] to unit rows [n, embed_dim], near captions of the pictures."""
        return l2_normalize(((features - self.mean) * self.scale) @ self.weight)

    def name(self, features: NDArray[np.float32]) -> Embeddings:
        """Features to unit rows [n, embed_dim]: what is in the pictures, by name."""
        return conse(features[:, : len(self.labels)], self.labels, SETTINGS)


def load_image_head(path: Path) -> ImageHead:
    """Read the table that ``benchmarks/fits/picture_head.py`` writes."""
    with np.load(path, allow_pickle=False) as tables:
        names = ("mean", "scale", "weight", "labels")
        return ImageHead(*(tables[name].astype(np.float32) for name in names))


def features_of(session: Session, batch: Sequence[Prepared]) -> NDArray[np.float32]:
    """The network's outputs side by side, logits first, float32 [len(batch), n_features]."""
    # each on its own, see `encoder.towers.image.ImageTower.forward`
    outputs_of_images = run_all(session, [{"pixels": pixels[None]} for pixels in batch])
    return np.concatenate([np.concatenate(outputs, axis=1) for outputs in outputs_of_images])


class ImageHeadTower:
    """Pictures to two rows each: the head mixed with ConSE, and ConSE alone.

    ``session`` takes ``pixels`` float32 [n, 3, SIDE, SIDE]; gives logits [n, n_labels] and
    features, all of which are inputs of the head.
    """

    n_rows = 2

    def __init__(self, session: Session, head: ImageHead) -> None:
        self._session, self._head = session, head

    def prepare(self, content: NDArray[np.uint8]) -> NDArray[np.float32]:
        return to_pixels(content)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        """Float32 unit rows [2 * len(batch), embed_dim], the two rows of each picture together."""
        features = features_of(self._session, batch)
        by_name = self._head.name(features)
        described = l2_normalize(self._head.describe(features) + NAMED_SHARE * by_name)
        return Encoded(np.stack([described, by_name], axis=1).reshape(-1, by_name.shape[1]))
