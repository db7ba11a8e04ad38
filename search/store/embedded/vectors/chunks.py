"""Consecutive rows, searched by their codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.types import Embeddings
from search.store.embedded.vectors.codes import Codes, in_whole_numbers
from search.store.embedded.vectors.nibbles import Nibbles


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
    codes: Codes | Nibbles
    wanted: NDArray[np.bool_] | None


def in_chunks(queries: Embeddings, limit: int, chunks: Sequence[Chunk]) -> Scored:
    """About the best of each chunk for each query [n, embed_dim]: [n_chunks, n, limit].

    Queries are converted to bytes for all chunks at once: a million rows have 122 chunks, and a
    call of numpy for each takes a fifth of the time of its comparisons.
    """
    shape = len(chunks), len(queries), limit
    products, places = np.empty(shape, np.float32), np.empty(shape, np.int64)
    coded = [(at, one.codes) for at, one in enumerate(chunks) if isinstance(one.codes, Codes)]
    if coded:
        asked, steps = in_whole_numbers(queries, [codes.scales for _, codes in coded])
        for (at, codes), of_chunk, step in zip(coded, asked, steps, strict=True):
            codes.nearest(of_chunk, chunks[at].wanted, products[at], places[at])
            products[at] *= step
    for at, one in enumerate(chunks):
        if isinstance(one.codes, Nibbles):
            one.codes.nearest(queries, one.wanted, products[at], places[at])
    starts = np.array([one.start for one in chunks], np.int64)[:, None, None]
    return Scored(products, np.where(places < 0, -1, places + starts))
