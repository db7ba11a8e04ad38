"""A text tower for texts of any length: windows, and their mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.chunks import pick
from encoder.dsre.cost import Shape, dense_flops
from encoder.towers.base import CountingTower, Prepared
from encoder.towers.encoded import Encoded, TextStats
from encoder.towers.text.tokens import Ids, Tokenizer, cut, ids_of, pool, readable, text_of
from encoder.towers.text.tower import MAX_TOKENS
from encoder.types import Embeddings

if TYPE_CHECKING:
    from encoder.towers.text.tower import TextTower

Predict = Callable[[Sequence[Ids]], Embeddings]
Picked = tuple[list[int], Ids]


@dataclass(frozen=True)
class ChunkGate:
    """Lets similar windows of a text share one embedding, guessed by ``predict``.

    ``tau`` is that of `encoder.dsre.chunks.pick`.
    """

    predict: Predict
    tau: float
    shape: Shape


class WindowedTextTower:
    """Texts to embeddings; one that fits into a window gets the inner tower's embedding.

    ``max_tokens`` of a window include special tokens and the ``prompt``, which is put before each
    text and begins each window; the tokenizer makes the same tokens of it whatever follows.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        inner: TextTower,
        gate: ChunkGate | None = None,
        *,
        max_tokens: int = MAX_TOKENS,
        prompt: str = "",
    ) -> None:
        self._tokenizer = tokenizer
        self._inner = inner
        self._gate = gate
        self._max_tokens = max_tokens
        self._prompt = prompt
        self._n_head = len(tokenizer.encode(prompt).ids) - 1

    def prepare(self, content: str) -> Ids:
        """All token ids, int64 [n_tokens], with the start and end marks."""
        text = self._prompt + readable(content)
        return np.asarray(ids_of(self._tokenizer, text), dtype=np.int64)

    def window_lengths(self, content: str) -> list[int]:
        return [len(window) for window in self._cut(self.prepare(content))]

    def text_of(self, ids: Sequence[int]) -> str:
        return text_of(ids, lambda text: self._tokenizer.encode(text).ids, self._tokenizer.decode)

    def forward(self, batch: Sequence[Prepared], *, counted: bool = False) -> Encoded:
        encode = self._inner.forward
        if counted and isinstance(self._inner, CountingTower):
            encode = self._inner.forward_counted
        if max(map(len, batch)) <= self._max_tokens:
            return encode(batch)
        documents = [self._cut(ids.astype(np.int64, copy=False)) for ids in batch]
        picked, nearest = zip(*(self._pick(windows) for windows in documents), strict=True)
        chosen = [windows[i] for windows, some in zip(documents, picked, strict=True) for i in some]
        encoded = encode(chosen)
        ends = np.cumsum([len(some) for some in picked])
        stats = self._sum(encoded.stats, documents, picked, ends) if encoded.stats else None
        per_document = zip(
            np.split(encoded.rows, ends[:-1]), documents, picked, nearest, strict=True
        )
        rows = [
            pool(rows_of_picked[np.searchsorted(places, nearest_place)], list(map(len, windows)))
            for rows_of_picked, windows, places, nearest_place in per_document
        ]
        return Encoded(np.stack(rows), stats)

    def forward_counted(self, batch: Sequence[Prepared]) -> Encoded:
        return self.forward(batch, counted=True)

    def _cut(self, ids: Ids) -> list[Ids]:
        return cut(ids, self._max_tokens, self._n_head)

    def _pick(self, windows: Sequence[Ids]) -> Picked:
        if len(windows) == 1 or self._gate is None:
            every = np.arange(len(windows))
            return every.tolist(), every
        return pick(self._gate.predict(windows), self._gate.tau)

    def _sum(
        self,
        stats: TextStats,
        documents: Sequence[Sequence[Ids]],
        picked: Sequence[Sequence[int]],
        ends: NDArray[np.int64],
    ) -> TextStats:
        """One row per document; a window that is not encoded counts as dense and keeps nothing."""
        total = stats.summed([0, *ends[:-1]])
        if self._gate is None:
            return total
        shape = self._gate.shape
        skipped = [
            np.array([len(window) for i, window in enumerate(windows) if i not in some], np.int64)
            for windows, some in zip(documents, picked, strict=True)
        ]
        n_skipped = np.array([lengths.sum() for lengths in skipped], np.int64)
        flops = np.array([dense_flops(shape, lengths).sum() for lengths in skipped])
        return replace(
            total, tokens=total.tokens + n_skipped, dense_flops=total.dense_flops + flops
        )


class RoleTextTower(WindowedTextTower):
    """Documents; ``query`` encodes queries on the same network, with a different prompt."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        inner: TextTower,
        gate: ChunkGate | None = None,
        *,
        query: WindowedTextTower,
        max_tokens: int = MAX_TOKENS,
        prompt: str = "",
    ) -> None:
        super().__init__(tokenizer, inner, gate, max_tokens=max_tokens, prompt=prompt)
        self.query = query
