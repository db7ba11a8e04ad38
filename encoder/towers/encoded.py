"""What a tower returns: rows, and what it learned on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.cost import Shape, dense_flops, sparse_flops
from encoder.dsre.settings import GateSettings
from encoder.types import Embeddings, Utterance

Heard: TypeAlias = Sequence[Sequence[Utterance]]
"""For each sound, the spans in which somebody speaks; their text is empty where it is uncertain."""


@dataclass(frozen=True, eq=False)
class TextStats:
    """What a gate did to texts, one row per text.

    Args:
        tokens: that went in, int64 [n].
        kept: tokens left after each layer's attention, int64 [n, n_layers].
        dense_flops: of the network without a gate, float64 [n].
        flops: of the network as it ran, gate included, float64 [n].
    """

    tokens: NDArray[np.int64]
    kept: NDArray[np.int64]
    dense_flops: NDArray[np.float64]
    flops: NDArray[np.float64]

    @property
    def parts(self) -> tuple[NDArray[Any], ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    @property
    def flops_saved(self) -> float:
        """The share of all FLOPs that was saved, 0 to 1."""
        return float(1 - self.flops.sum() / self.dense_flops.sum())

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> TextStats:
        """Some of the rows, in the order given."""
        at = np.asarray(rows, np.int64)
        return TextStats(*(array[at] for array in self.parts))

    def summed(self, starts: Sequence[int] | NDArray[np.int64]) -> TextStats:
        """One row per group of neighbours; ``starts`` are the first rows of the groups."""
        return TextStats(*(np.add.reduceat(array, starts, axis=0) for array in self.parts))

    @classmethod
    def of_gate(
        cls,
        settings: GateSettings,
        shape: Shape,
        n_tokens: NDArray[np.int64],
        n_left: NDArray[np.int64],
        *,
        cls_only: bool = False,
    ) -> TextStats:
        """What a gate did to texts of ``n_tokens`` [n], from those left, [n, n_layers].

        In short texts nothing is compared. With ``cls_only`` the last layer computes one token.
        """
        gated = [threshold is not None for threshold in settings.thresholds]
        dense = dense_flops(shape, n_tokens)
        sparse = sparse_flops(shape, n_tokens, n_left, gated=gated, cls_only=cls_only)
        flops = np.where(n_tokens < settings.min_tokens, dense, sparse)
        return cls(n_tokens, n_left, dense, flops)

    @classmethod
    def join(cls, several: Sequence[TextStats | None]) -> TextStats | None:
        """All in one; None if there are none, or one is None."""
        present = [stats for stats in several if stats is not None]
        if not present or len(present) < len(several):
            return None
        parts = zip(*(stats.parts for stats in present), strict=True)
        return cls(*(np.concatenate(arrays) for arrays in parts))


@dataclass(frozen=True, eq=False)
class Encoded:
    """What `encoder.towers.base.Tower.forward` returns.

    ``rows`` are float32 unit rows [n, embed_dim], or [n * n_rows, embed_dim]; ``stats`` are there
    for texts if there is a gate, ``heard`` for sounds if the tower recognises speech.
    """

    rows: Embeddings
    stats: TextStats | None = None
    heard: Heard | None = None
