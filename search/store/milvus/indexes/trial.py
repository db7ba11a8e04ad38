"""Whether a server builds an index that it accepts, tried before a store is created with it."""

from __future__ import annotations

import numpy as np

from search.store.milvus.indexes.kinds import HNSW
from search.store.milvus.indexes.scratch import Scratch, drop_left
from search.store.milvus.link import MilvusLink

ROWS = 1100
"""Milvus builds no index for fewer than 1,024."""


def check_built(link: MilvusLink, index: str, dim: int) -> None:
    """Make the server build an index of random rows; takes about four seconds.

    HNSW is not tried: every server has it.

    Args:
        link: to a server.
        index: as ``ANYMODAL_STORE__INDEX`` names it.
        dim: the length of its rows.

    Raises:
        IndexRefusedError: the server refuses it, or does not build it.
    """
    if index == HNSW:
        return
    drop_left(link)
    rows = np.random.default_rng(0).standard_normal((ROWS, dim), np.float32)
    with Scratch(link, index, dim) as scratch:
        scratch.fill(rows)
        scratch.seal()
