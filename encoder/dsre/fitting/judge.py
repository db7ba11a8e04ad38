"""Encode documents densely and sparsely, and compare search results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.cost import Shape, dense_flops, sparse_flops
from encoder.dsre.fitting.documents import Document
from encoder.dsre.gatefile import GateFile
from encoder.dsre.settings import GateSettings
from encoder.errors import InputError
from encoder.space import l2_normalize
from encoder.types import Embeddings

Tokenize = Callable[[Sequence[str]], Sequence[Sequence[int]]]
_MIN_QUERIES = 20


class Run(Protocol):
    """Runs a network on the token ids of equally long texts, int64 [n, length].

    Gives vectors [n, embed_dim], and with a gate the tokens kept after each layer [n, n_layers].
    With thresholds, float32 [n_layers], these hold instead of the gate's.
    """

    def __call__(
        self, ids: NDArray[np.int64], thresholds: NDArray[np.float32] | None = None
    ) -> Sequence[NDArray[np.generic]]: ...


Runs = Callable[[GateFile], AbstractContextManager[tuple[Run, Run]]]
"""Opens a network without a gate and with it."""


@dataclass(frozen=True, eq=False)
class GateSubject:
    """What a gate is fitted to.

    Args:
        tokenize: texts to token ids, truncated as when the model is used.
        shape: of the network.
        vocab_size: how many token ids there are.
        judged: opens the network in float32.
        timed: opens it as it is served, on one thread.
    """

    tokenize: Tokenize
    shape: Shape
    vocab_size: int
    judged: Runs
    timed: Runs


@dataclass(frozen=True, eq=False)
class Judgement:
    """A part of the texts, encoded densely.

    Args:
        queries: unit rows, one for each long text.
        bodies: unit rows of all texts; the first ones are long.
        ids: the token ids of the long texts.
    """

    queries: Embeddings
    bodies: Embeddings
    ids: Sequence[Sequence[int]]

    @property
    def found(self) -> SearchOutcome:
        """The dense search."""
        return search(self.queries, self.bodies, np.arange(len(self.ids)))


def judge_dense(
    dense: Run, tokenize: Tokenize, documents: Sequence[Document], min_tokens: int
) -> Judgement:
    """Encode documents without a gate; the long ones' titles are queries, all bodies compete.

    Raises:
        InputError: too few documents are long enough for the gate.
    """
    ids = tokenize([document.body for document in documents])
    long = [i for i, ids_of_text in enumerate(ids) if len(ids_of_text) >= min_tokens]
    if len(long) < _MIN_QUERIES:
        raise InputError(
            "texts",
            got=f"{len(long)} of {len(ids)} with {min_tokens} tokens or more in one part",
            wanted=f"at least {_MIN_QUERIES} in each part, so some hundred long texts",
        )
    order = [*long, *(i for i, ids_of_text in enumerate(ids) if len(ids_of_text) < min_tokens)]
    queries, *_ = embed(dense, tokenize([documents[i].title for i in long]))
    bodies, *_ = embed(dense, [ids[i] for i in order])
    return Judgement(queries, bodies, [ids[i] for i in long])


def measure(
    sparse: Run, settings: GateSettings, shape: Shape, judgement: Judgement
) -> tuple[Loss, float]:
    """What a gate loses, and how many times fewer FLOPs the long texts take with it."""
    rows, n_left = embed(sparse, judgement.ids, settings)
    bodies = np.concatenate([rows, judgement.bodies[len(rows) :]])
    outcome = search(judgement.queries, bodies, np.arange(len(rows)))
    n_tokens = [len(ids) for ids in judgement.ids]
    gated = [threshold is not None for threshold in settings.thresholds]
    cost = sparse_flops(shape, n_tokens, n_left, gated=gated)
    saved = float(dense_flops(shape, n_tokens).sum() / cost.sum())
    return compare(judgement.found, outcome), saved


def embed(
    run: Run,
    texts: Sequence[Sequence[int]],
    settings: GateSettings | None = None,
    *,
    batch_tokens: int = 2048,
) -> list[NDArray[np.float32]]:
    """What ``run`` gives for each text, the first as unit rows [n, embed_dim]; no padding."""
    thresholds = None
    if settings:
        thresholds = np.array([gate or 0.0 for gate in settings.thresholds], np.float32)
    by_length: dict[int, list[int]] = {}
    for index, ids in enumerate(texts):
        by_length.setdefault(len(ids), []).append(index)
    outputs, order = [], []
    for length, indices in sorted(by_length.items()):
        step = max(1, batch_tokens // length)
        for start in range(0, len(indices), step):
            batch = indices[start : start + step]
            outputs.append(run(np.array([list(texts[i]) for i in batch], np.int64), thresholds))
            order += batch
    back = np.argsort(order)
    rows, *traces = (np.concatenate(each)[back] for each in zip(*outputs, strict=True))
    return [l2_normalize(rows), *traces]


_AT = 10
_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class SearchOutcome:
    """How each query fares.

    Args:
        ndcg: nDCG@10 (Järvelin & Kekäläinen 2002) with one right text for each query, [n].
        margin: cosine of the right text less that of the best wrong one, [n].
    """

    ndcg: NDArray[np.float64]
    margin: NDArray[np.float64]

    def take(self, some: NDArray[np.bool_]) -> SearchOutcome:
        """Some of the queries."""
        return SearchOutcome(self.ndcg[some], self.margin[some])


@dataclass(frozen=True)
class Loss:
    """A search over sparse vectors compared with the same search over dense ones.

    Args:
        ndcg: the share of the mean nDCG@10 that is lost; negative for a gain.
        error: its standard error, from the differences query by query.
        margin: how far the mean margin falls, in standard deviations of the dense margin.
        n_queries: the number of queries.
    """

    ndcg: float
    error: float
    margin: float
    n_queries: int


def search(queries: Embeddings, texts: Embeddings, right: NDArray[np.int64]) -> SearchOutcome:
    """Rank all texts for each query.

    Args:
        queries: unit rows [n, embed_dim].
        texts: unit rows [n_texts, embed_dim], at least two.
        right: the index of each query's text, [n].

    >>> found = search(np.eye(2, dtype="f4"), np.eye(2, dtype="f4"), np.array([0, 1]))
    >>> found.ndcg.tolist(), found.margin.tolist()
    ([1.0, 1.0], [1.0, 1.0])
    """
    ranks, margins = [], []
    for start in range(0, len(queries), _AT_ONCE):
        rows = right[start : start + _AT_ONCE, None]
        scores = queries[start : start + _AT_ONCE] @ texts.T
        own_scores = np.take_along_axis(scores, rows, 1)
        np.put_along_axis(scores, rows, -np.inf, 1)
        # a tie counts against the right text
        ranks.append((scores >= own_scores).sum(1))
        margins.append(own_scores[:, 0] - scores.max(1))
    rank = np.concatenate(ranks)
    ndcg = np.where(rank < _AT, 1 / np.log2(2 + rank), 0.0)
    return SearchOutcome(ndcg, np.concatenate(margins).astype(np.float64))


def compare(dense: SearchOutcome, sparse: SearchOutcome) -> Loss:
    """What the sparse search loses; both answered the same queries, in the same order."""
    level = max(float(dense.ndcg.mean()), 1e-12)
    lost = (dense.ndcg - sparse.ndcg) / level
    fallen = float((dense.margin - sparse.margin).mean())
    spread = max(float(dense.margin.std()), 1e-12)
    error = float(lost.std() / np.sqrt(len(lost)))
    return Loss(float(lost.mean()), error, fallen / spread, len(lost))
