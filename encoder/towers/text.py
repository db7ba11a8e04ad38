"""The text tower: windows, a sentence encoder, unit vectors; with a gate, tokens merge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.cost import Shape
from encoder.dsre.settings import GateSettings
from encoder.errors import ModelError
from encoder.runtime.base import Array, Session, run_all
from encoder.runtime.onnx import OnnxSession
from encoder.space import l2_normalize
from encoder.system.resting import Resting
from encoder.towers.base import Encoded, Prepared, TextStats
from encoder.towers.tokens import Ids, Tokenizer, cut, ids_of, pool, readable, text_of

if TYPE_CHECKING:
    import tokenizers


TOKENS_PER_RUN = 128
"""A batch is several runs, which can go side by side. Compared with runs of 256, these take 5 %
more per token where a state has 384 numbers, and a quarter less where it has 768 (2 MB of L2
cache)."""

MAX_TOKENS = 256
"""MiniLM was tuned on texts of at most this many tokens; longer ones are encoded in windows, see
`WindowedTextTower`."""


class TextTower:
    """Texts to embeddings.

    ``session`` takes ``input_ids`` int64 and ``mask`` float32, both [n, length]; gives pooled
    vectors [n, embed_dim].
    """

    def __init__(self, tokenizer: Tokenizer, session: Session) -> None:
        self._tokenizer = tokenizer
        self._session = session

    def prepare(self, content: str) -> NDArray[np.int64]:
        """Token ids, int64 [n_tokens], with the start and end marks."""
        return np.asarray(self._tokenizer.encode(content).ids, dtype=np.int64)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        outputs = run_all(self._session, [inputs_of(run) for run in equal_runs(batch)])
        return Encoded(l2_normalize(np.concatenate([pooled for pooled, *_ in outputs])))


def equal_runs(batch: Sequence[Prepared]) -> Iterator[Sequence[Prepared]]:
    """Neighbours of one length, as many as fit into a run.

    Next to a longer text, a text is computed with a mask, a different order of additions, and in
    int8 different rounding: its vector has a cosine of .9983 to .9999 with the one that it has
    alone. Without padding the cosine is 1, and texts take a twelfth longer than padded ones.

    >>> [len(run) for run in equal_runs([[1, 2], [3, 4], [5, 6, 7]])]
    [2, 1]
    """
    for length, rows in groupby(batch, key=len):
        same, n_rows = list(rows), max(1, TOKENS_PER_RUN // length)
        yield from (same[i : i + n_rows] for i in range(0, len(same), n_rows))


def inputs_of(batch: Sequence[Prepared]) -> dict[str, Array]:
    """A run's inputs, by name."""
    input_ids, mask = pad(batch)
    return {"input_ids": input_ids, "mask": mask}


def pad(batch: Sequence[Prepared]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Pad token ids with 0 to the longest; the mask is 1 for tokens. Both [n, length]."""
    length = max(len(ids) for ids in batch)
    input_ids = np.zeros((len(batch), length), np.int64)
    mask = np.zeros((len(batch), length), np.float32)
    for row, ids in enumerate(batch):
        input_ids[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1.0
    return input_ids, mask


def load_tokenizer(path: Path, *, max_tokens: int | None = MAX_TOKENS) -> tokenizers.Tokenizer:
    """Read a ``tokenizer.json``; it cuts at ``max_tokens`` (None: nowhere) and does not pad.

    Raises:
        ModelError: the file is missing or not a tokenizer.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    # the library raises a bare Exception
    except Exception as error:
        raise ModelError(
            f"{path} is not a tokenizer: {error}.",
            remedy="Check the model with `anymodal models verify`.",
        ) from error
    tokenizer.no_padding()
    if max_tokens is None:
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(max_length=max_tokens)
    return tokenizer


def load(folder: Path, *, n_threads: int | None = None) -> TextTower:
    """The text tower of a prepared folder that holds ``model.onnx`` and ``tokenizer.json``."""
    session = OnnxSession(folder / "model.onnx", n_threads=n_threads)
    return TextTower(load_tokenizer(folder / "tokenizer.json"), session)


@dataclass(frozen=True)
class SparseNetwork:
    """A text network with a gate, opened for the first long text."""

    open: Callable[[], Session]
    settings: GateSettings
    shape: Shape


class SparseTextTower(TextTower):
    """Texts to embeddings; short ones run in the dense network, as if there were no gate."""

    def __init__(self, tokenizer: Tokenizer, session: Session, sparse: SparseNetwork) -> None:
        super().__init__(tokenizer, session)
        self._network = sparse
        self._sparse = Resting(sparse.open)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        n_tokens = np.array([len(ids) for ids in batch])
        long = n_tokens >= self._network.settings.min_tokens
        shape = self._network.shape
        n_left = np.repeat(n_tokens[:, None], shape.n_layers, 1)
        rows = np.zeros((len(batch), shape.hidden_dim), np.float32)
        if not long.all():
            rows[~long] = super().forward(list(compress(batch, ~long))).rows
        if long.any():
            runs = equal_runs(list(compress(batch, long)))
            outputs = run_all(self._sparse.get(), [inputs_of(run) for run in runs])
            pooled, n_left[long] = (np.concatenate(halves) for halves in zip(*outputs, strict=True))
            rows[long] = l2_normalize(pooled)
        return Encoded(rows, TextStats.of_gate(self._network.settings, shape, n_tokens, n_left))


class WindowedTextTower:
    """Texts to embeddings; one that fits into a window gets the inner tower's embedding.

    ``max_tokens`` of a window include special tokens and the ``prompt``, which is put before each
    text and begins each window; the tokenizer makes the same tokens of it whatever follows.
    ``query`` encodes queries on the same network, with a different prompt; None if they have none.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        inner: TextTower,
        *,
        max_tokens: int = MAX_TOKENS,
        prompt: str = "",
        query: WindowedTextTower | None = None,
    ) -> None:
        self.query = query
        self._tokenizer = tokenizer
        self._inner = inner
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

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        if max(map(len, batch)) <= self._max_tokens:
            return self._inner.forward(batch)
        documents = [self._cut(ids.astype(np.int64, copy=False)) for ids in batch]
        encoded = self._inner.forward([window for windows in documents for window in windows])
        ends = np.cumsum([len(windows) for windows in documents])
        rows = [
            pool(window_rows, list(map(len, windows)))
            for window_rows, windows in zip(
                np.split(encoded.rows, ends[:-1]), documents, strict=True
            )
        ]
        stats = encoded.stats.summed([0, *ends[:-1]]) if encoded.stats else None
        return Encoded(np.stack(rows), stats)

    def _cut(self, ids: Ids) -> list[Ids]:
        return cut(ids, self._max_tokens, self._n_head)
