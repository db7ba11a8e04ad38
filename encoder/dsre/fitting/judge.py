"""Encode documents densely and sparsely, and compare search results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.cost import dense_flops, sparse_flops
from encoder.dsre.fitting.documents import Document
from encoder.errors import InputError
from encoder.space import l2_normalize
from encoder.types import Embeddings

if TYPE_CHECKING:
    from encoder.dsre.network import SparseEncoder


Tokenize = Callable[[Sequence[str]], Sequence[Sequence[int]]]
_MIN_QUERIES = 20
_NEVER = 1_000_000


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
    network: SparseEncoder, tokenize: Tokenize, documents: Sequence[Document]
) -> Judgement:
    """Encode documents with the gate off; the long ones' titles are queries, all bodies compete.

    Raises:
        InputError: too few documents are long enough for the gate.
    """
    ids = tokenize([document.body for document in documents])
    least = network.settings.min_tokens
    long = [i for i, ids_of_text in enumerate(ids) if len(ids_of_text) >= least]
    if len(long) < _MIN_QUERIES:
        raise InputError(
            "texts", got=f"{len(long)} of {len(ids)} with {least} tokens or more in one part",
            wanted=f"at least {_MIN_QUERIES} in each part, so some hundred long texts",
        )  # fmt: skip
    order = [*long, *(i for i, ids_of_text in enumerate(ids) if len(ids_of_text) < least)]
    queries = embed_dense(network, tokenize([documents[i].title for i in long]))
    bodies = embed_dense(network, [ids[i] for i in order])
    return Judgement(queries, bodies, [ids[i] for i in long])


def embed_dense(network: SparseEncoder, texts: Sequence[Sequence[int]]) -> Embeddings:
    """Unit rows [n, hidden_dim] with the gate off, from a network without changed weights."""
    with _gate_off(network):
        rows, _ = embed(network, texts)
    return rows


@contextmanager
def _gate_off(network: SparseEncoder) -> Iterator[None]:
    saved_settings = network.settings
    network.settings = replace(saved_settings, min_tokens=_NEVER)
    try:
        yield
    finally:
        network.settings = saved_settings


def measure(network: SparseEncoder, judgement: Judgement) -> tuple[Loss, float]:
    """What the gate loses, and how many times fewer FLOPs the long texts take with it."""
    rows, n_left = embed(network, judgement.ids)
    bodies = np.concatenate([rows, judgement.bodies[len(rows) :]])
    sparse = search(judgement.queries, bodies, np.arange(len(rows)))
    return compare(judgement.found, sparse), saving(network, judgement.ids, n_left)


def saving(
    network: SparseEncoder, texts: Sequence[Sequence[int]], n_left: NDArray[np.int64]
) -> float:
    """FLOPs of the dense forward over those of the sparse one."""
    n_tokens = [len(ids) for ids in texts]
    shape = network.blocks.shape
    gated = [gate is not None for gate in network.settings.thresholds]
    cost = sparse_flops(shape, n_tokens, n_left, gated=gated, cls_only=network.cls_only)
    return float(dense_flops(shape, n_tokens).sum() / cost.sum())


def embed(
    network: SparseEncoder, texts: Sequence[Sequence[int]], *, batch_tokens: int = 2048
) -> tuple[Embeddings, NDArray[np.int64]]:
    """Unit rows [n, hidden_dim] and the tokens kept in each layer [n, n_layers]; no padding."""
    import torch

    by_length: dict[int, list[int]] = {}
    for index, ids in enumerate(texts):
        by_length.setdefault(len(ids), []).append(index)
    rows, n_left, order = [], [], []
    with torch.inference_mode():
        for length, indices in sorted(by_length.items()):
            step = max(1, batch_tokens // length)
            for start in range(0, len(indices), step):
                batch = indices[start : start + step]
                input_ids = torch.tensor([list(texts[i]) for i in batch])
                pooled, n_kept = network(input_ids, torch.ones(input_ids.shape))
                rows.append(pooled.numpy())
                n_left.append(n_kept.numpy())
                order += batch
    back = np.argsort(order)
    return l2_normalize(np.concatenate(rows)[back]), np.concatenate(n_left)[back]


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
