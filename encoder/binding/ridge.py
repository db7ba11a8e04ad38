"""Ridge regression that chooses its own penalty. Pure.

Hoerl and Kennard, "Ridge Regression" (1970). The penalty is the one with the least leave-one-out
error, which the singular values give without fitting n times (Allen's PRESS, 1974).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder.space import l2_normalize
from encoder.types import Embeddings

Matrix = NDArray[np.float64]

_PENALTIES = 10.0 ** np.arange(-4, 3)
"""Times the mean square of a singular value."""
_CONSTANT = 1e-9


@dataclass(frozen=True, eq=False)
class LinearMap:
    """``weight`` [n_features, embed_dim] applied to features less their ``mean``; both float32."""

    mean: NDArray[np.float32]
    weight: NDArray[np.float32]

    def apply(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Features [n, n_features] to rows [n, embed_dim], of any length."""
        return np.asarray((features - self.mean) @ self.weight, np.float32)


def fit(features: NDArray[np.floating], targets: NDArray[np.floating]) -> LinearMap:
    """The map from features [n, n_features] to targets [n, embed_dim] less their mean.

    Features are standardised; a constant feature gets no weight.
    """
    mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0)
    moves = deviation > _CONSTANT * (1 + np.abs(mean))
    scale = np.where(moves, 1 / np.where(moves, deviation, 1), 0)
    centred = targets - targets.mean(axis=0, dtype=np.float64)
    left_vectors, values, right = np.linalg.svd((features - mean) * scale, full_matrices=False)
    turned = left_vectors.T @ centred
    penalties = _PENALTIES * max(float(np.mean(values**2)), _CONSTANT)
    errors = [_left_out(left_vectors, values, turned, centred, penalty) for penalty in penalties]
    penalty = penalties[int(np.argmin(errors))]
    weight = right.T @ (turned * (values / (values**2 + penalty))[:, None])
    return LinearMap(mean.astype(np.float32), (scale[:, None] * weight).astype(np.float32))


def _left_out(
    left_vectors: Matrix, values: Matrix, turned: Matrix, centred: Matrix, penalty: float
) -> float:
    """The mean square error of the targets, each predicted by a fit without it."""
    shrunk = values**2 / (values**2 + penalty)
    share = (left_vectors**2) @ shrunk + 1 / len(left_vectors)  # the mean is fitted too
    errors = centred - left_vectors @ (shrunk[:, None] * turned)
    return float(np.mean((errors / np.maximum(1 - share, 1e-6)[:, None]) ** 2))


_FOLDS = 5


def folds(n_files: int) -> Iterator[NDArray[np.bool_]]:
    """Which of the files (5 at least) each of 5 folds leaves out, [n_files]; the same each time."""
    fold_of = np.random.default_rng(0).permutation(n_files) % _FOLDS
    return (fold_of == fold for fold in range(_FOLDS))


@dataclass(frozen=True, eq=False)
class Shared:
    """The same texts in two spaces: ``there`` that of the tower, ``here`` the one it is bound to.

    Float32 [n_texts, n_features] and unit rows [n_texts, embed_dim].
    """

    there: NDArray[np.float32]
    here: Embeddings

    def fit(self, features: NDArray[np.float32]) -> LinearMap:
        """The map for files with these features, [n_files, n_features]."""
        weight = fit(self.there, self.here).weight
        return LinearMap(features.mean(axis=0), weight)

    def held_out(self, features: NDArray[np.float32]) -> Embeddings:
        """Each file centred on the mean of the other folds, unit rows [n_files, embed_dim]."""
        weight = fit(self.there, self.here).weight
        rows = np.zeros((len(features), self.here.shape[1]), np.float32)
        for out in folds(len(features)):
            rows[out] = LinearMap(features[~out].mean(axis=0), weight).apply(features[out])
        return l2_normalize(rows)
