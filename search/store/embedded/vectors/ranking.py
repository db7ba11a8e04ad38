"""Which slots are likely among the best, by their codes, and how floats rank them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.types import Embeddings
from search.store.embedded.vectors.chunks import Scored

MORE = 3
SPARE = 64
_TIE = 1e-6
_MAX_TIES = 1000


class Found(NamedTuple):
    """Slots and cosines, best first, of one query."""

    slots: NDArray[np.int64]
    cosines: NDArray[np.float32]


def joined(one: Scored, in_chunks: Scored) -> Scored:
    """Both, in one row for each query."""
    scores, slots = one
    return Scored(
        np.concatenate([scores, *in_chunks.scores], axis=1),
        np.concatenate([slots, *in_chunks.slots], axis=1),
    )


def least_of(found: Scored, limit: int) -> NDArray[np.float32]:
    """A lower bound [n, 1] for the scores of the best of each query."""
    scores = np.where(found.slots < 0, -np.inf, found.scores)
    if scores.shape[1] < limit:
        return np.full((len(scores), 1), -np.inf, np.float32)
    return np.partition(scores, -limit, axis=1)[:, -limit, None]


def with_more(found: Scored, least: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which chunks [n_chunks] may have more rows among the best."""
    scores, slots = (of[:, :, -1] for of in found)
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


def ranked(query: Embeddings, slots: NDArray[np.int64], rows: Embeddings, limit: int) -> Found:
    """Rank in float64, so that equal rows get equal cosines wherever they are."""
    cosines = (rows.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    if len(cosines) > limit:
        least = np.partition(cosines, -limit)[-limit]
        kept = np.flatnonzero(cosines >= least - _TIE)
        slots, cosines = slots[kept], cosines[kept]
    order = np.argsort(-cosines, kind="stable")
    return Found(slots[order], cosines[order])


def candidates_of(limit: int) -> int:
    """How many rows of a part are ranked by their floats to find ``limit`` of them."""
    return MORE * limit + SPARE
