"""A point cloud's shape as numbers, named by what it looks like.

For random pairs and triples of points: how far apart they are (D2) and at what angle (A3), as
histograms (Osada et al., "Shape Distributions", 2002); how far points are from the middle; and how
linear, planar and scattered the cloud is (Weinmann et al. 2014). Turned, moved, scaled, sparser or
in a different order, a cloud has nearly the same numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.binding.classifier import ClassifierTower

_DRAWS = 8192


def describe(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points [n, 3] to float32 [n_features]."""
    centred = points.astype(np.float64) - points.mean(axis=0)
    a, b, c = centred[np.random.default_rng(0).integers(len(points), size=(3, _DRAWS))]
    apart = np.linalg.norm(a - b, axis=1)
    radii = np.linalg.norm(centred, axis=1)
    unit = max(float(apart.mean()), 1e-12)
    lengths = np.maximum(apart * np.linalg.norm(c - b, axis=1), 1e-12)
    cosines = np.clip(((a - b) * (c - b)).sum(axis=1) / lengths, -1, 1)
    spread = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(centred.T))[::-1], 0))
    parts = [
        np.histogram(apart / unit, 32, (0, 3))[0] / _DRAWS,
        np.histogram(np.arccos(cosines), 24, (0, np.pi))[0] / _DRAWS,
        np.histogram(radii / unit, 24, (0, 2))[0] / len(points),
        spread[1:] / max(float(spread[0]), 1e-12),
    ]
    return np.sqrt(np.concatenate(parts)).astype(np.float32)  # Hellinger scale for histograms


class PointTower(ClassifierTower):
    """Shapes among texts: by named classes, or by `anymodal models bind`."""

    table = Path(__file__).parent / "shapes.npz"

    def describe(self, content: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points [n, 3] to float32 [n_features]."""
        return describe(content)
