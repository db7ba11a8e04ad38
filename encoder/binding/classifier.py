"""A linear classifier of named classes, for towers of plug-ins: fit one, ship it, run it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.space import l2_normalize
from encoder.towers.base import forward
from encoder.towers.model import Model
from encoder.types import TEXT, Embeddings


class NamedClasses:
    """Turns a classifier's predictions into vectors in the texts' space.

    A vector is the mean of the classes' names, weighted by the classes' probabilities (ConSE,
    Norouzi et al. 2013). A name, a few words with synonyms, is embedded as a query, less the mean
    of all names. So an item between two classes lies between their names.

    Raises:
        ModelError: the model takes no text.
    """

    def __init__(self, model: Model, names: Sequence[str]) -> None:
        tower = model.queries.get(TEXT) or model.towers.get(TEXT)
        if tower is None:
            raise ModelError(
                "Names of classes need a model that embeds text.", remedy="Use another model."
            )
        labels = forward(tower, [tower.prepare(name) for name in names]).rows
        self._labels = l2_normalize(labels - labels.mean(axis=0))

    def rows(self, logits: NDArray[np.floating]) -> Embeddings:
        """Logits [n, n_classes] to unit rows [n, embed_dim]."""
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return l2_normalize(odds / odds.sum(axis=1, keepdims=True) @ self._labels)


_PENALTY = 1e-4
_LEAST_DEVIATION = 1e-3


@dataclass(frozen=True, eq=False)
class Classifier:
    """Softmax regression; float32 weights [n_features, n_classes], and a bias [n_classes]."""

    names: Sequence[str]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def logits(self, features: NDArray[np.floating]) -> NDArray[np.floating]:
        """Features [n, n_features] to logits [n, n_classes]."""
        return features @ self.weight + self.bias

    def write(self, path: Path) -> None:
        """Write a file that `read_classifier` reads."""
        names = np.array(self.names)
        np.savez_compressed(path, names=names, weight=self.weight, bias=self.bias)


def read_classifier(path: Path) -> Classifier:
    """Read what `Classifier.write` wrote."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Classifier(arrays["names"].tolist(), arrays["weight"], arrays["bias"])


def fit_classifier(
    features: NDArray[np.floating], classes: NDArray[np.integer], names: Sequence[str]
) -> Classifier:
    """Fit a classifier to items' features [n, n_features] and the indices of their classes [n]."""
    from scipy.optimize import minimize

    mean, deviation = features.mean(axis=0), features.std(axis=0) + _LEAST_DEVIATION
    scaled = np.column_stack([(features - mean) / deviation, np.ones(len(features))])
    one_hot = np.eye(len(names))[classes]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weight = flat.reshape(-1, len(names))
        logits = scaled @ weight
        logits -= logits.max(axis=1, keepdims=True)
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        cost = -np.log((chances * one_hot).sum(axis=1) + 1e-30).mean()
        slope = scaled.T @ (chances - one_hot) / len(scaled)
        total = float(cost + _PENALTY * (weight**2).sum())
        return total, (slope + 2 * _PENALTY * weight).ravel()

    start = np.zeros(scaled.shape[1] * len(names))
    solution = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    weight = solution.x.reshape(-1, len(names))
    sloped = weight[:-1] / deviation[:, None]
    bias = weight[-1] - mean @ sloped
    return Classifier(list(names), sloped.astype(np.float32), bias.astype(np.float32))


class ClassifierTower(ABC):
    """A tower that computes features of an item and embeds it by a classifier's named classes.

    `anymodal models bind` binds the features themselves.
    """

    table: ClassVar[Path]
    """A file that `Classifier.write` wrote."""

    def __init__(self, model: Model) -> None:
        self._classifier = read_classifier(self.table)
        self._classes = NamedClasses(model, self._classifier.names)

    @abstractmethod
    def describe(self, content: Any) -> NDArray[np.float32]:
        """The features of an item, float32 [n_features]."""

    def prepare(self, content: Any) -> NDArray[np.float32]:
        """[1, n_features]."""
        return self.describe(content)[None]

    def features(self, batch: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """[len(batch), n_features]."""
        return np.concatenate(batch)

    def forward(self, batch: Sequence[NDArray[Any]]) -> Embeddings:
        """Unit rows [len(batch), embed_dim]."""
        return self._classes.rows(self._classifier.logits(self.features(batch)))
