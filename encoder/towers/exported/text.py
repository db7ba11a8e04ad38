"""The text tower of an exported model: tokens, one graph, windows for long texts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from encoder.errors import ModelError
from encoder.runtime.base import Array, Session, run_all
from encoder.space import l2_normalize
from encoder.towers.base import Prepared
from encoder.towers.encoded import Encoded
from encoder.towers.text.tokens import readable, text_of
from encoder.towers.text.tower import equal_runs
from encoder.towers.text.windows import Ids, cut_text, pool
from encoder.types import Embeddings

_END = -1
"""Follows the token ids of each window except the last."""


@dataclass(frozen=True)
class TextFormat:
    """How a text becomes what the graph takes.

    Args:
        before: what is put before each text: the prompt, or the start of a template.
        after: what is put after it.
        marks: whether the tokenizer puts its special tokens around that.
        max_tokens: of a window, with all of these; None where the model has no limit.
        pad_to: the length that every text is padded to, for models that need one; else None.
        pad_id: the token to pad with.
        pad_left: whether to pad before the text.
        placeholders: tokens that stand for media, which must stay text where they occur in one.
    """

    before: str = ""
    after: str = ""
    marks: bool = True
    max_tokens: int | None = None
    pad_to: int | None = None
    pad_id: int = 0
    pad_left: bool = False
    placeholders: Sequence[str] = ()

    def wrap(self, text: str) -> str:
        """The text with all that is put around it."""
        text = readable(text)
        for token in self.placeholders:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return f"{self.before}{text}{self.after}"

    def padded(self, ids: Ids) -> Ids:
        """The token ids, padded to the length that the network needs."""
        missing = max((self.pad_to or 0) - len(ids), 0)
        widths = (missing, 0) if self.pad_left else (0, missing)
        return np.pad(ids, widths, constant_values=self.pad_id)


class TextGraph:
    """The text network: ids of equal lengths to unit rows.

    Args:
        name: what errors call the model.
        session: takes ``input_ids`` int64 [n, length], what ``inputs`` names, and gives vectors
            [n, embed_dim].
        inputs: the other inputs: ``attention_mask`` int64 [n, length], and
            ``soft_tokens`` float32 [n_soft, width], which go where the ids name media.
        soft_dim: the width of soft tokens.
    """

    def __init__(
        self, name: str, session: Session, inputs: Sequence[str], soft_dim: int | None = None
    ) -> None:
        self._name = name
        self._session = session
        self._inputs = inputs
        self._soft_dim = soft_dim

    def embed(self, runs: Sequence[Ids], soft_tokens: Sequence[Array] | None = None) -> Embeddings:
        """Embed runs, each of ids [n, length]; unit rows in their order.

        Raises:
            ModelError: the result is not finite.
        """
        soft: Sequence[Array | None] = soft_tokens or [None] * len(runs)
        outputs = run_all(
            self._session,
            [
                self._inputs_of(*run_and_soft_tokens)
                for run_and_soft_tokens in zip(runs, soft, strict=True)
            ],
        )
        return unit_rows(self._name, np.concatenate([rows for rows, *_ in outputs]))

    def _inputs_of(self, ids: Ids, soft_tokens: Array | None) -> Mapping[str, Array]:
        inputs: dict[str, Array] = {"input_ids": ids}
        if "attention_mask" in self._inputs:
            inputs["attention_mask"] = np.ones_like(ids)
        if self._soft_dim:
            none = np.zeros((1, self._soft_dim), np.float32)
            inputs["soft_tokens"] = none if soft_tokens is None else soft_tokens
        return inputs


class ExportedTextTower:
    """Texts; those longer than the model's window are encoded in several, see `pool`.

    Args:
        tokenizer: cuts and pads nothing.
        graph: the network.
        form: how a text becomes token ids.
    """

    def __init__(self, tokenizer: Tokenizer, graph: TextGraph, form: TextFormat) -> None:
        self._tokenizer = tokenizer
        self._graph = graph
        self._form = form

    def prepare(self, content: str) -> Ids:
        """The token ids of all windows, with -1 between them: int64 [n_tokens]."""
        ids = [self._ids(window) for window, _ in self._windows(content)]
        return np.concatenate(
            [ids[0], *(tokens for window in ids[1:] for tokens in ([_END], window))]
        )

    def window_lengths(self, content: str) -> list[int]:
        return [length for _, length in self._windows(content)]

    def text_of(self, ids: Sequence[int]) -> str:
        return text_of(ids, lambda text: self._tokenizer.encode(text).ids, self._tokenizer.decode)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        return Encoded(self._encode(batch).rows)

    def _encode(self, batch: Sequence[Prepared]) -> Encoded:
        documents = [_split(ids.astype(np.int64, copy=False)) for ids in batch]
        flat = [window for windows in documents for window in windows]
        # texts of equal length in a run need no padding, see `equal_runs`
        order = sorted(range(len(flat)), key=lambda index: len(flat[index]))
        runs = equal_runs([self._form.padded(flat[index]) for index in order])
        encoded = self._embed([np.stack(list(run)) for run in runs])
        back = np.argsort(order)
        ends = np.cumsum([len(windows) for windows in documents])
        per_document = zip(np.split(encoded.rows[back], ends[:-1]), documents, strict=True)
        rows = np.stack(
            [
                pool(rows_of_windows, list(map(len, windows)))
                for rows_of_windows, windows in per_document
            ]
        )
        return Encoded(rows, encoded.stats and encoded.stats.take(back).summed([0, *ends[:-1]]))

    def _embed(self, runs: Sequence[Ids]) -> Encoded:
        """Unit rows of runs, each of ids [n, length]."""
        return Encoded(self._graph.embed(runs))

    def _ids(self, text: str) -> Ids:
        wrapped = self._form.wrap(text)
        ids = self._tokenizer.encode(wrapped, add_special_tokens=self._form.marks).ids
        return np.asarray(ids, np.int64)

    def _windows(self, content: str) -> list[tuple[str, int]]:
        return cut_text(
            content, lambda text: len(self._ids(text)), self._form.max_tokens or math.inf
        )


def unit_rows(name: str, vectors: NDArray[np.floating]) -> Embeddings:
    """Scale rows to unit length.

    Raises:
        ModelError: a value is not finite.
    """
    if not np.isfinite(vectors).all():
        raise ModelError(
            f"{name} returned values that are not finite.", remedy="Check its weights."
        )
    return l2_normalize(vectors)


def _split(ids: Ids) -> list[Ids]:
    return list(_parts(ids, np.flatnonzero(ids == _END)))


def _parts(ids: Ids, ends: NDArray[np.int64]) -> Iterator[Ids]:
    for start, end in zip([0, *(ends + 1)], [*ends, len(ids)], strict=True):
        yield ids[start:end]
