"""Long documents in windows, and which of them must be encoded. Pure.

A document beyond the network's window is cut into windows, and its embedding is their mean. The
chunk gate predicts each window's embedding from its words alone and lets near windows share one:
greedy k-centre (Gonzalez 1985) takes windows until each is near to one that is encoded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoder.space import l2_normalize
from encoder.types import Embeddings

Ids = NDArray[np.int64]


def cut(ids: Ids, most: int) -> list[Ids]:
    """Windows of alike length, each with the text's start and end mark.

    Args:
        ids: token ids of a text, marks included, int64 [n_tokens].
        most: tokens in a window, marks included.

    >>> [window.tolist() for window in cut(np.array([1, 7, 8, 9, 2]), 4)]
    [[1, 7, 8, 2], [1, 9, 2]]
    """
    if len(ids) <= most:
        return [ids]
    n_windows = -(-(len(ids) - 2) // (most - 2))
    pieces = np.array_split(ids[1:-1], n_windows)
    return [np.concatenate([ids[:1], piece, ids[-1:]]) for piece in pieces]


def pick(predicted: Embeddings, tau: float) -> tuple[list[int], NDArray[np.int64]]:
    """Choose the windows to encode, the first one and then the farthest one each time.

    Args:
        predicted: unit rows [n_windows, d].
        tau: the least cosine of a window to the one that stands for it; 1 encodes all but copies.

    Returns:
        The chosen windows, in order, and for each window the chosen one that is most like it,
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


def pool(rows: Embeddings, lengths: Sequence[int]) -> Embeddings:
    """A document's embedding [d] from those of its windows [n_windows, d], by their lengths."""
    weights = np.asarray(lengths, np.float32)
    pooled: Embeddings = l2_normalize((rows * weights[:, None]).sum(0))
    return pooled
