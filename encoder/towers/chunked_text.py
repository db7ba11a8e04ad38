"""The text tower for documents beyond its window: windows, near ones only once, and their mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.chunks import cut, pick, pool
from encoder.dsre.cost import Shape, dense_flops
from encoder.towers.base import Prepared
from encoder.towers.text import MAX_TOKENS
from encoder.towers.text_stats import TextStats, counting, is_counted, join, pass_on
from encoder.types import Embeddings

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from encoder.towers.sparse_text import SparseTextTower

Predict = Callable[[Sequence[NDArray[np.int64]]], Embeddings]


class ChunkedTextTower:
    """Texts to embeddings; one that fits into a window comes out as from the inner tower.

    Args:
        tokenizer: cuts nothing.
        inner: encodes windows.
        predict: guesses the embeddings of windows, unit rows.
        tau: see `encoder.dsre.chunks.pick`.
        shape: of the network, to count FLOPs.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        inner: SparseTextTower,
        predict: Predict,
        tau: float,
        shape: Shape,
    ) -> None:
        self._tokenizer = tokenizer
        self._inner = inner
        self._predict = predict
        self._tau = tau
        self._shape = shape

    def prepare(self, content: str) -> NDArray[np.int64]:
        """All token ids, int64 [n_tokens], with the start and end marks."""
        return np.asarray(self._tokenizer.encode(content).ids, dtype=np.int64)

    def forward(self, batch: Sequence[Prepared]) -> Embeddings:
        """See `encoder.towers.base.Tower.forward`."""
        documents = [cut(ids.astype(np.int64, copy=False), MAX_TOKENS) for ids in batch]
        picked, nearest = zip(*(self._pick(windows) for windows in documents), strict=True)
        chosen = [windows[i] for windows, some in zip(documents, picked, strict=True) for i in some]
        with counting(is_counted()) as counts:
            rows = self._inner.forward(chosen)
        ends = np.cumsum([len(some) for some in picked])
        if stats := join(counts):
            pass_on(self._sum(stats, documents, picked, ends))
        per_document = zip(np.split(rows, ends[:-1]), documents, picked, nearest, strict=True)
        return np.stack([_pool(own, *rest) for own, *rest in per_document])

    def _pick(self, windows: Sequence[NDArray[np.int64]]) -> tuple[list[int], NDArray[np.int64]]:
        if len(windows) == 1:
            return [0], np.zeros(1, np.int64)
        return pick(self._predict(windows), self._tau)

    def _sum(
        self,
        stats: TextStats,
        documents: Sequence[Sequence[NDArray[np.int64]]],
        picked: Sequence[Sequence[int]],
        ends: NDArray[np.int64],
    ) -> TextStats:
        """One row a document; a window that is not encoded counts as dense and keeps nothing."""
        starts = [0, *ends[:-1]]
        total = TextStats(*(np.add.reduceat(part, starts, axis=0) for part in stats.parts))
        skipped = [
            np.array([len(one) for i, one in enumerate(windows) if i not in some], np.int64)
            for windows, some in zip(documents, picked, strict=True)
        ]
        more = np.array([lengths.sum() for lengths in skipped], np.int64)
        flops = np.array([dense_flops(self._shape, lengths).sum() for lengths in skipped])
        return replace(total, tokens=total.tokens + more, dense_flops=total.dense_flops + flops)


def _pool(
    rows: Embeddings,
    windows: Sequence[NDArray[np.int64]],
    picked: Sequence[int],
    nearest: NDArray[np.int64],
) -> Embeddings:
    if len(windows) == 1:
        only: Embeddings = rows[0]
        return only
    return pool(rows[np.searchsorted(picked, nearest)], [len(window) for window in windows])
