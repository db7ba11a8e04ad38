"""The cost of a forward, from the number of tokens in each layer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Shape:
    """The numbers of an encoder that determine its cost."""

    n_layers: int
    hidden_dim: int
    ffn_dim: int


def dense_flops(shape: Shape, n_tokens: ArrayLike) -> NDArray[np.float64]:
    """FLOPs (two per multiply-add) of the matrix products, for texts of ``n_tokens`` [n]; [n].

    >>> float(dense_flops(Shape(1, 2, 8), [3])[0])
    360.0
    """
    tokens = np.asarray(n_tokens, np.float64)
    n_kept = np.repeat(tokens[:, None], shape.n_layers, 1)
    return sparse_flops(shape, tokens, n_kept, gated=[False] * shape.n_layers)


def sparse_flops(
    shape: Shape,
    n_tokens: ArrayLike,
    kept: ArrayLike,
    *,
    gated: Sequence[bool],
) -> NDArray[np.float64]:
    """FLOPs of a forward that keeps fewer tokens from layer to layer.

    Args:
        shape: of the encoder.
        n_tokens: tokens that enter, [n].
        kept: tokens after each layer's attention, [n, n_layers].
        gated: which layers compare tokens, odd ones with even ones; [n_layers].

    Returns:
        FLOPs of the matrix products, including the gate's, [n].
    """
    n_after = np.array(kept, np.float64)
    n_before = np.concatenate([np.asarray(n_tokens, np.float64)[:, None], n_after[:, :-1]], 1)
    d = shape.hidden_dim
    projections = 8 * d * d * n_before
    attention = 4 * d * n_before**2
    feed_forward = 4 * d * shape.ffn_dim * n_after
    matching = 2 * d * (n_before / 2) ** 2 * np.asarray(gated)
    totals: NDArray[np.float64] = (projections + attention + feed_forward + matching).sum(1)
    return totals
