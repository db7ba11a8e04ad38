"""What the gate does to texts, counted for those who ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TextStats:
    """What the gate did to some texts, one row a text.

    Args:
        tokens: that went in, int64 [n].
        kept: that were left after each layer's attention, int64 [n, n_layers].
        dense_flops: of the network without a gate, float64 [n].
        flops: of the network as it ran, the gate's own included, float64 [n].
        gate_ms: what all gates took to compare and merge, by the clock, float64 [n]; 0 for a
            text that ran dense. Texts that ran together share it evenly.
    """

    tokens: NDArray[np.int64]
    kept: NDArray[np.int64]
    dense_flops: NDArray[np.float64]
    flops: NDArray[np.float64]
    gate_ms: NDArray[np.float64]

    @property
    def parts(self) -> tuple[NDArray[Any], ...]:
        """All arrays, in order."""
        return tuple(getattr(self, field.name) for field in fields(self))

    @property
    def flops_saved(self) -> float:
        """The share of all FLOPs that did not have to be done, 0 to 1."""
        return float(1 - self.flops.sum() / self.dense_flops.sum())

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> TextStats:
        """Some of the rows, in the order given."""
        at = np.asarray(rows, np.int64)
        return TextStats(*(part[at] for part in self.parts))

    def summed(self, starts: Sequence[int] | NDArray[np.int64]) -> TextStats:
        """One row for each group of neighbours, of which these are the first."""
        return TextStats(*(np.add.reduceat(part, starts, axis=0) for part in self.parts))


_counts: ContextVar[list[TextStats] | None] = ContextVar("counts", default=None)


@contextmanager
def counting(wanted: bool = True) -> Iterator[list[TextStats]]:
    """Collect what the text towers of this context do; nothing if it is not wanted."""
    counts: list[TextStats] = []
    token = _counts.set(counts if wanted else None)
    try:
        yield counts
    finally:
        _counts.reset(token)


def is_counted() -> bool:
    """Whether somebody asks; counting costs time."""
    return _counts.get() is not None


def pass_on(stats: TextStats) -> None:
    """Give to the innermost `counting`, if there is one."""
    if (counts := _counts.get()) is not None:
        counts.append(stats)


def join(counts: Sequence[TextStats]) -> TextStats | None:
    """Several in one; None of none."""
    if not counts:
        return None
    parts = zip(*(one.parts for one in counts), strict=True)
    return TextStats(*(np.concatenate(part) for part in parts))
