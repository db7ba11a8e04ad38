"""Which windows of a long document must be encoded. Pure.

A document longer than the network's window is cut into windows (`encoder.towers.tokens`), and
its embedding is their mean. The chunk gate predicts each window's embedding from its words alone
and lets similar windows share one: greedy k-centre (Gonzalez 1985) picks windows until each is near
one that is encoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.space import l2_normalize
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


@dataclass(frozen=True, eq=False)
class Predictor:
    """A linear map from the mean of a text's word vectors, rare words first, to its embedding.

    Args:
        matrix: float16 [d, embed_dim].
        source: subtracted from a mean of word vectors before the map, float32 [d].
        target: added after the map, float32 [embed_dim].
    """

    matrix: NDArray[np.float16]
    source: NDArray[np.float32]
    target: NDArray[np.float32]

    @property
    def identity(self) -> str:
        """A digest of everything here that changes a vector."""
        parts = (self.matrix, self.source, self.target)
        return hashlib.sha256(b"".join(array.tobytes() for array in parts)).hexdigest()[:16]

    def predict(self, means: NDArray[np.float32]) -> Embeddings:
        """Unit rows [n, embed_dim] from what `word_means` gives."""
        return l2_normalize((means - self.source) @ self.matrix.astype(np.float32) + self.target)

    @classmethod
    def load(cls, path: Path) -> Predictor:
        """Read what ``scripts/fit_chunks.py`` wrote.

        Raises:
            ModelError: the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(arrays["matrix"], arrays["source"], arrays["target"])
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise ModelError(
                f"{path} is not a predictor: {error}.",
                remedy="Install the package again, or leave chunks out of enable_dsre.",
            ) from error


def word_means(
    texts: Sequence[NDArray[np.int64]], words: NDArray[np.floating], rarity: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """The mean word vector of each text, words weighted by their rarity; [n, d].

    Args:
        texts: token ids, int64 [n_tokens] each.
        words: a vector for each token, [vocab_size, d].
        rarity: see `encoder.dsre.gatefile.token_rarity`.
    """

    def mean(ids: NDArray[np.int64]) -> NDArray[np.float32]:
        weights = rarity[ids].astype(np.float32)
        total: NDArray[np.float32] = weights @ words[ids].astype(np.float32)
        return total / max(float(weights.sum()), 1.0)

    return np.stack([mean(ids) for ids in texts])
