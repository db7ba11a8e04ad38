"""A tower whose items are bound to a space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from encoder.binding.ridge import Linear
from encoder.errors import ModelError
from encoder.space import l2_normalize
from encoder.towers.base import PluginTower, Prepared, forward
from encoder.towers.encoded import Encoded, Heard


@runtime_checkable
class FeatureTower(Protocol):
    """A tower that knows more about an item than its vector holds."""

    def features(self, batch: Sequence[Prepared]) -> NDArray[np.float32]:
        """The features to bind instead of the tower's rows, float32 [len(batch), n_features]."""
        ...


def features_of(
    tower: PluginTower, batch: Sequence[Prepared]
) -> tuple[NDArray[np.float32], Heard | None]:
    """A tower's features of prepared items, [len(batch), n_features], and what is said in them.

    For a tower without ``features``, these are all rows of an item, concatenated.
    """
    if isinstance(tower, FeatureTower):
        return np.asarray(tower.features(batch), np.float32), None
    found = forward(tower, batch)
    return found.rows.reshape(len(batch), -1), found.heard


class BoundTower:
    """A `Tower` of the space.

    Args:
        tower: makes the features; not lazy.
        linear: maps them.
    """

    def __init__(self, tower: PluginTower, linear: Linear) -> None:
        self._tower, self._linear = tower, linear

    def prepare(self, content: Any) -> Prepared:
        """As the tower itself does."""
        return self._tower.prepare(content)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        """Unit rows [len(batch), embed_dim].

        Raises:
            ModelError: the tower gives a different number of features than when it was bound.
        """
        features, heard = features_of(self._tower, batch)
        if features.shape[1] != len(self._linear.mean):
            raise ModelError(
                f"{type(self._tower).__name__} returned {features.shape[1]} features, but the "
                f"binding was fitted on {len(self._linear.mean)}.",
                remedy="Bind it again with `anymodal models bind`.",
            )
        return Encoded(l2_normalize(self._linear.apply(features)), heard=heard)
