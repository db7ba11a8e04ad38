"""A picture as people describe it: a linear head on the classifier's features, next to ConSE.

ConSE names what a classifier was trained to name. The head is fitted by ridge regression from
features of middle and last layers to the embeddings of captions, and captures what else there is:
who does what, and where. Each picture has two rows, of which the better score counts: the first
matches sentences, the second names (``docs/picture-head.md`` has the figures).

A text's embedding also shows which language it is written in, and how. Rows contain neither; else
a question in German would find the pictures whose rows happen to look German.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.runtime.base import Session, run_all
from encoder.space import l2_normalize
from encoder.towers.base import Prepared
from encoder.towers.encoded import Encoded
from encoder.towers.picture.tower import ConseSettings, conse, to_pixels
from encoder.types import Embeddings

SETTINGS = ConseSettings(temperature=2.0, n_classes=20)
"""For labels minus their mean, which leaves more room between the classes."""

NAMED_SHARE = 0.5
"""The weight of ConSE in the first row, against 1 for the head."""


@dataclass(frozen=True)
class ImageHead:
    """A linear map from the outputs of a network with features to the space.

    Args:
        mean: of each feature, float32 [n_features]. The features are the network's outputs
            side by side, logits first, as `encoder.onnx.efficientnet_lite` orders them.
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
    """Read the table that ``scripts/train_picture_head.py`` writes."""
    with np.load(path, allow_pickle=False) as tables:
        names = ("mean", "scale", "weight", "labels")
        return ImageHead(*(tables[name].astype(np.float32) for name in names))


def features_of(session: Session, batch: Sequence[Prepared]) -> NDArray[np.float32]:
    """The network's outputs side by side, logits first, float32 [len(batch), n_features]."""
    # each on its own, see `encoder.towers.picture.tower.ImageTower.forward`
    found = run_all(session, [{"pixels": pixels[None]} for pixels in batch])
    return np.concatenate([np.concatenate(outputs, axis=1) for outputs in found])


class ImageHeadTower:
    """Pictures to two rows each: the head mixed with ConSE, and ConSE alone.

    Args:
        session: takes ``pixels`` float32 [n, 3, SIDE, SIDE]; gives logits [n, n_labels] and
            features, all of which are inputs of the head.
        head: see `ImageHead`.
    """

    n_rows = 2

    def __init__(self, session: Session, head: ImageHead) -> None:
        self._session, self._head = session, head

    def prepare(self, content: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `to_pixels`."""
        return to_pixels(content)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        """Embed prepared pictures.

        Returns:
            float32 unit rows [2 * len(batch), embed_dim], the two rows of each picture together.
        """
        features = features_of(self._session, batch)
        named = self._head.name(features)
        described = l2_normalize(self._head.describe(features) + NAMED_SHARE * named)
        return Encoded(np.stack([described, named], axis=1).reshape(-1, named.shape[1]))
