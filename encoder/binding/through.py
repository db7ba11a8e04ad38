"""A binding that is fitted on texts alone, which both spaces can embed. Pure.

Vectors of two modalities lie apart even within one model (Liang et al., "Mind the Gap", 2022), so
files are centred on their own mean, not on the mean of the texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder.binding import ridge
from encoder.binding.folds import folds
from encoder.binding.ridge import Linear
from encoder.space import l2_normalize
from encoder.types import Embeddings


@dataclass(frozen=True, eq=False)
class Shared:
    """The same texts in two spaces.

    Args:
        there: in the space of the tower that is bound, float32 [n_texts, n_features].
        here: in the space that the tower is bound to, unit rows [n_texts, embed_dim].
    """

    there: NDArray[np.float32]
    here: Embeddings

    def fit(self, features: NDArray[np.float32]) -> Linear:
        """The map for files with these features, [n_files, n_features]."""
        weight = ridge.fit(self.there, self.here).weight
        return Linear(features.mean(axis=0), weight)

    def held_out(self, features: NDArray[np.float32]) -> Embeddings:
        """Each file centred on the mean of the other folds, unit rows [n_files, embed_dim]."""
        weight = ridge.fit(self.there, self.here).weight
        rows = np.zeros((len(features), self.here.shape[1]), np.float32)
        for out in folds(len(features)):
            rows[out] = Linear(features[~out].mean(axis=0), weight).apply(features[out])
        return l2_normalize(rows)
