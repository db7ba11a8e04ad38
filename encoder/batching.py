"""Pure: put items of similar length together, and bring results back into order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from encoder.types import Embeddings


def bucket_by_length(
    lengths: Sequence[int], *, max_items: int, max_tokens: int
) -> Iterator[list[int]]:
    """Split indices into batches of neighbours in length, shortest first.

    A batch holds at most ``max_items`` items and, padded to its longest, at most
    ``max_tokens`` tokens; an item that is longer than that stands alone.

    >>> list(bucket_by_length([9, 2, 3], max_items=2, max_tokens=10))
    [[1, 2], [0]]
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        full = len(batch) == max_items or lengths[index] * (len(batch) + 1) > max_tokens
        if batch and full:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def scatter(
    parts: Sequence[tuple[Sequence[int], Embeddings]], n_rows: int, embed_dim: int
) -> Embeddings:
    """Put the rows of each part at its indices; float32 [n_rows, embed_dim]."""
    rows = np.zeros((n_rows, embed_dim), np.float32)
    for indices, embeddings in parts:
        rows[list(indices)] = embeddings
    return rows
