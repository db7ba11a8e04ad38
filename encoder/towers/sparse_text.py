"""The text tower with a gate: long texts run with fewer tokens from layer to layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.cost import Shape, dense_flops, sparse_flops
from encoder.dsre.settings import GateSettings
from encoder.runtime.base import Session
from encoder.space import l2_normalize
from encoder.towers.base import Prepared
from encoder.towers.text import TOKENS_PER_RUN, TextTower, pad
from encoder.types import Embeddings

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, eq=False)
class TextStats:
    """What the gate did to some texts, one row a text.

    Args:
        tokens: that went in, int64 [n].
        kept: that were left after each layer's attention, int64 [n, n_layers].
        dense_flops: of the network without a gate, float64 [n].
        flops: of the network as it ran, the gate's own included, float64 [n].
    """

    tokens: NDArray[np.int64]
    kept: NDArray[np.int64]
    dense_flops: NDArray[np.float64]
    flops: NDArray[np.float64]

    @property
    def flops_saved(self) -> float:
        """The share of all FLOPs that did not have to be done, 0 to 1."""
        return float(1 - self.flops.sum() / self.dense_flops.sum())

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> TextStats:
        """Some of the rows, in the order given."""
        at = np.asarray(rows, np.int64)
        return TextStats(self.tokens[at], self.kept[at], self.dense_flops[at], self.flops[at])


class SparseTextTower(TextTower):
    """Texts to embeddings; short ones run in the dense network, and come out as from it.

    Args:
        tokenizer: see `TextTower`.
        session: the dense network, see `TextTower`.
        open_sparse: opens the sparse one, which also gives the tokens kept [n, n_layers]; called
            for the first long text.
        settings: of the gate in it.
        shape: of the network, to count FLOPs.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        session: Session,
        open_sparse: Callable[[], Session],
        settings: GateSettings,
        shape: Shape,
    ) -> None:
        super().__init__(tokenizer, session)
        self._open_sparse = open_sparse
        self._settings = settings
        self._shape = shape

    @cached_property
    def _sparse(self) -> Session:
        return self._open_sparse()

    def forward(self, batch: Sequence[Prepared]) -> Embeddings:
        """See `encoder.towers.base.Tower.forward`."""
        n_tokens = np.array([len(ids) for ids in batch])
        long = n_tokens >= self._settings.min_tokens
        kept = np.repeat(n_tokens[:, None], self._shape.n_layers, 1)
        rows = np.zeros((len(batch), self._shape.hidden_dim), np.float32)
        if not long.all():
            rows[~long] = super().forward(list(compress(batch, ~long)))
        if long.any():
            rows[long], kept[long] = self._merge(list(compress(batch, long)))
        pass_on(self._count(n_tokens, kept))
        return rows

    def _merge(self, batch: Sequence[Prepared]) -> tuple[Embeddings, NDArray[np.int64]]:
        n_rows = max(1, TOKENS_PER_RUN // max(len(ids) for ids in batch))
        pooled, kept = [], []
        for i in range(0, len(batch), n_rows):
            input_ids, mask = pad(batch[i : i + n_rows])
            vectors, n_kept = self._sparse.run({"input_ids": input_ids, "mask": mask})
            pooled.append(vectors)
            kept.append(n_kept.astype(np.int64))
        return l2_normalize(np.concatenate(pooled)), np.concatenate(kept)

    def _count(self, n_tokens: NDArray[np.int64], kept: NDArray[np.int64]) -> TextStats:
        dense = dense_flops(self._shape, n_tokens)
        gated = [threshold is not None for threshold in self._settings.thresholds]
        sparse = sparse_flops(self._shape, n_tokens, kept, gated=gated)
        # where nothing may merge, nothing is compared
        short = n_tokens < self._settings.min_tokens
        return TextStats(n_tokens, kept, dense, np.where(short, dense, sparse))


_counts: ContextVar[list[TextStats] | None] = ContextVar("counts", default=None)


@contextmanager
def counting() -> Iterator[list[TextStats]]:
    """Collect what each `SparseTextTower.forward` of this context does."""
    counts: list[TextStats] = []
    token = _counts.set(counts)
    try:
        yield counts
    finally:
        _counts.reset(token)


def pass_on(stats: TextStats) -> None:
    """Give to the innermost `counting`, if there is one."""
    if (counts := _counts.get()) is not None:
        counts.append(stats)


def join(counts: Sequence[TextStats]) -> TextStats | None:
    """Several in one; None of none."""
    if not counts:
        return None
    return TextStats(
        np.concatenate([one.tokens for one in counts]),
        np.concatenate([one.kept for one in counts]),
        np.concatenate([one.dense_flops for one in counts]),
        np.concatenate([one.flops for one in counts]),
    )
