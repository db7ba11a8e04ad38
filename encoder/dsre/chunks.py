"""Which windows of a long document must be encoded. Pure.

A document longer than the network's window is cut into windows (`encoder.towers.text.windows`), and
its embedding is their mean. The chunk gate predicts each window's embedding from its words alone
and lets similar windows share one: greedy k-centre (Gonzalez 1985) picks windows until each is near
one that is encoded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoder.types import Embeddings


def pick(predicted: Embeddings, tau: float) -> tuple[list[int], NDArray[np.int64]]:
    """Choose the windows to encode: the first one, then the farthest one each time.

    Args:
        predicted: unit rows [n_windows, d].
        tau: the least cosine of a window to the one that represents it; 1 encodes all but copies.

    Returns:
        The chosen windows, in order, and for each window the chosen one most similar to it,
        int64 [n_windows].
    """
    cosines = predicted @ predicted.T
    nearest = np.zeros(len(predicted), np.int64)
    best = cosines[0].copy()
    best[0] = np.inf
    while best.min() < tau - 1e-6:
        new = int(best.argmin())
        closer = cosines[new] > best
        nearest[closer], best[closer] = new, cosines[new][closer]
        nearest[new], best[new] = new, np.inf
    return np.unique(nearest).tolist(), nearest
