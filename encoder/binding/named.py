"""Named classes: a way into any space that has texts."""

from __future__ import annotations

from collections.abc import Sequence

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
    Norouzi et al. 2013). A name is embedded as a query, less the mean of all names. So an item
    between two classes lies between their names.

    Args:
        model: embeds the names; the model that a tower's factory gets.
        names: of the classes, a few words each, synonyms included.

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
