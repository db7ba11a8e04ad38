"""Which slots are likely among the best, by the codes of chunks, and how floats rank them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.types import Embeddings
from search.store.embedded.codes import ByteCodes, NibbleCodes, in_whole_numbers


class Scored(NamedTuple):
    """Scores and slots [..., limit] of each query; -1 where there are no more."""

    scores: NDArray[np.float32]
    slots: NDArray[np.int64]


class Chunk(NamedTuple):
    """Rows with codes, from a slot on.

    Args:
        start: the first slot.
        codes: of the rows.
        wanted: which of them; None for all.
    """

    start: int
    codes: ByteCodes | NibbleCodes
    wanted: NDArray[np.bool_] | None


def in_chunks(queries: Embeddings, limit: int, chunks: Sequence[Chunk]) -> Scored:
    """About the best of each chunk for each query [n, embed_dim]: [n_chunks, n, limit].

    Queries are converted to bytes for all chunks at once: a million rows have 122 chunks, and a
    call of numpy for each takes a fifth of the time of its comparisons.
    """
    shape = len(chunks), len(queries), limit
    products, places = np.empty(shape, np.float32), np.empty(shape, np.int64)
    coded = [
        (at, chunk.codes) for at, chunk in enumerate(chunks) if isinstance(chunk.codes, ByteCodes)
    ]
    if coded:
        whole_queries, steps = in_whole_numbers(queries, [codes.scales for _, codes in coded])
        for (at, codes), of_chunk, step in zip(coded, whole_queries, steps, strict=True):
            codes.nearest(of_chunk, chunks[at].wanted, products[at], places[at])
            products[at] *= step
    for at, chunk in enumerate(chunks):
        if isinstance(chunk.codes, NibbleCodes):
            chunk.codes.nearest(queries, chunk.wanted, products[at], places[at])
    starts = np.array([chunk.start for chunk in chunks], np.int64)[:, None, None]
    return Scored(products, np.where(places < 0, -1, places + starts))


MORE = 3
SPARE = 64
_TIE = 1e-6
_MAX_TIES = 1000


class RankedSlots(NamedTuple):
    """Slots and cosines, best first, of one query."""

    slots: NDArray[np.int64]
    cosines: NDArray[np.float32]


def joined(newest: Scored, in_chunks: Scored) -> Scored:
    """Both, in one row for each query."""
    scores, slots = newest
    return Scored(
        np.concatenate([scores, *in_chunks.scores], axis=1),
        np.concatenate([slots, *in_chunks.slots], axis=1),
    )


def least_of(scored: Scored, limit: int) -> NDArray[np.float32]:
    """A lower bound [n, 1] for the scores of the best of each query."""
    scores = np.where(scored.slots < 0, -np.inf, scored.scores)
    if scores.shape[1] < limit:
        return np.full((len(scores), 1), -np.inf, np.float32)
    return np.partition(scores, -limit, axis=1)[:, -limit, None]


def with_more(scored: Scored, least: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which chunks [n_chunks] may have more rows among the best."""
    scores, slots = (of[:, :, -1] for of in scored)
    may: NDArray[np.bool_] = (scores >= least[:, 0] - _TIE) & (slots >= 0)
    return np.any(may, axis=1)  # type: ignore[no-any-return]


def best_of(scores: NDArray[np.float32], slots: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """The slots with the highest scores, and any ties with the last, in ascending order."""
    usable = np.isfinite(scores) & (slots >= 0)
    scores, slots = scores[usable], slots[usable]
    if len(scores) > limit:
        least = np.partition(scores, -limit)[-limit]
        chosen = np.flatnonzero(scores >= least - _TIE)
        slots = slots[chosen[: limit + _MAX_TIES]] if len(chosen) > limit else slots[chosen]
    return np.sort(slots)


def ranked(
    query: Embeddings, slots: NDArray[np.int64], rows: Embeddings, limit: int
) -> RankedSlots:
    """Rank in float64, so that equal rows get equal cosines wherever they are."""
    cosines = (rows.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    if len(cosines) > limit:
        least = np.partition(cosines, -limit)[-limit]
        best = np.flatnonzero(cosines >= least - _TIE)
        slots, cosines = slots[best], cosines[best]
    order = np.argsort(-cosines, kind="stable")
    return RankedSlots(slots[order], cosines[order])


def candidates_of(limit: int) -> int:
    """How many rows of a part are ranked by their floats to find ``limit`` of them."""
    return MORE * limit + SPARE
