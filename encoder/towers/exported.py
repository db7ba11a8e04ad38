"""The graphs of an exported model: texts, with a gate or without, and vectors of media."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from encoder.errors import ModelError
from encoder.runtime.base import Array, Session, run_all
from encoder.space import l2_normalize
from encoder.system.resting import Resting
from encoder.towers.base import Encoded, Prepared, TextStats
from encoder.towers.text import SparseNetwork, equal_runs
from encoder.towers.tokens import Ids, cut_text, pool, readable, text_of
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

    ``session`` takes ``input_ids`` int64 [n, length] and what ``inputs`` names: ``attention_mask``
    int64 [n, length], and ``soft_tokens`` float32 [n_soft, soft_dim], which go where the ids name
    media.
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
            self._session, [self.inputs_of(*each) for each in zip(runs, soft, strict=True)]
        )
        return unit_rows(self._name, np.concatenate([rows for rows, *_ in outputs]))

    def inputs_of(self, ids: Ids, soft_tokens: Array | None = None) -> Mapping[str, Array]:
        """What the graph takes for a run of ids [n, length]."""
        return text_inputs(self._inputs, self._soft_dim, ids, soft_tokens)


def text_inputs(
    names: Sequence[str], soft_dim: int | None, ids: Ids, soft_tokens: Array | None = None
) -> Mapping[str, Array]:
    """What a text graph takes for a run of ids [n, length], see `TextGraph`."""
    inputs: dict[str, Array] = {"input_ids": ids}
    if "attention_mask" in names:
        inputs["attention_mask"] = np.ones_like(ids)
    if soft_dim:
        none = np.zeros((1, soft_dim), np.float32)
        inputs["soft_tokens"] = none if soft_tokens is None else soft_tokens
    return inputs


class ExportedTextTower:
    """Texts; those longer than the model's window are encoded in several, see `pool`."""

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
        documents = [_split(ids.astype(np.int64, copy=False)) for ids in batch]
        flat = [window for windows in documents for window in windows]
        # texts of equal length in a run need no padding, see `equal_runs`
        order = sorted(range(len(flat)), key=lambda index: len(flat[index]))
        runs = equal_runs([self._form.padded(flat[index]) for index in order])
        encoded = self._embed([np.stack(list(run)) for run in runs])
        back = np.argsort(order)
        ends = np.cumsum([len(windows) for windows in documents])
        per_document = zip(np.split(encoded.rows[back], ends[:-1]), documents, strict=True)
        rows = np.stack([pool(some, list(map(len, windows))) for some, windows in per_document])
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
    ends = np.flatnonzero(ids == _END)
    return [ids[i:j] for i, j in zip([0, *(ends + 1)], [*ends, len(ids)], strict=True)]


GraphInputs: TypeAlias = Mapping[str, Array]
"""What a graph takes for one image, one window of sound or the frames of one film."""


def embed_directly(name: str, session: Session, inputs: Sequence[GraphInputs]) -> Embeddings:
    """By a graph that gives vectors [n, embed_dim]."""
    outputs = run_all(session, inputs)
    return unit_rows(name, np.concatenate([rows for rows, *_ in outputs]))


@dataclass(frozen=True)
class SoftTokens:
    """Where soft tokens stand among a text's tokens: ``token_id`` stands for each of them.

    ``between`` are the ids between two groups; a film's frames are groups.
    """

    before: Sequence[int]
    between: Sequence[int]
    after: Sequence[int]
    token_id: int

    def ids(self, n_tokens: int, n_groups: int) -> NDArray[np.int64]:
        """The ids, int64 [1, length], for soft tokens in groups of one size."""
        group = [self.token_id] * (n_tokens // n_groups)
        groups = [*([*group, *self.between] * (n_groups - 1)), *group]
        return np.asarray([[*self.before, *groups, *self.after]], np.int64)


def embed_by_text(
    session: Session, graph: TextGraph, form: SoftTokens, inputs: Sequence[GraphInputs]
) -> Embeddings:
    """By a graph that gives soft tokens [n_soft, width], which the text network reads.

    The first axis of its inputs is the groups.
    """
    soft = [tokens for tokens, *_ in run_all(session, inputs)]
    ids = [
        form.ids(len(tokens), len(next(iter(tensors.values()))))
        for tokens, tensors in zip(soft, inputs, strict=True)
    ]
    return graph.embed(ids, soft)


class MergingTextTower(ExportedTextTower):
    """Texts; windows below the gate's shortest length run dense, as if there were no gate."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        graph: TextGraph,
        form: TextFormat,
        merging: SparseNetwork,
        name: str,
    ) -> None:
        super().__init__(tokenizer, graph, form)
        self._merging = merging
        self._sparse = Resting(merging.open)
        self._name = name

    def _embed(self, runs: Sequence[Ids]) -> Encoded:
        """The shorter runs come first."""
        least, n_layers = self._merging.settings.min_tokens, self._merging.shape.n_layers
        short = [run for run in runs if run.shape[1] < least]
        long = runs[len(short) :]
        rows = [self._graph.embed(short)] if short else []
        n_left = [np.full((len(run), n_layers), run.shape[1], np.int64) for run in short]
        if long:
            outputs = run_all(self._sparse.get(), [self._graph.inputs_of(run) for run in long])
            rows.append(unit_rows(self._name, np.concatenate([vectors for vectors, _ in outputs])))
            n_left += [n_left_of_run for _, n_left_of_run in outputs]
        n_tokens = np.concatenate([np.full(len(run), run.shape[1], np.int64) for run in runs])
        merging = self._merging
        stats = TextStats.of_gate(
            merging.settings, merging.shape, n_tokens, np.concatenate(n_left).astype(np.int64)
        )
        return Encoded(np.concatenate(rows), stats)
