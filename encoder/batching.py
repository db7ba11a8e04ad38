"""Prepare items, batch those of similar length, and put the results back in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from encoder.errors import ModelError
from encoder.space import Space, l2_normalize
from encoder.towers.base import PluginTower, Prepared
from encoder.towers.encoded import Encoded, TextStats
from encoder.types import Embeddings

# Tokenizing, resizing and spectrograms release the GIL for most of their time.
_PREPARE_THREADS = 2
_SHORT_CHARS = 5000


def bucket_by_length(
    lengths: Sequence[int], *, max_items: int, max_tokens: int
) -> Iterator[list[int]]:
    """Split indices into batches of neighbours in length, shortest first.

    A batch holds at most ``max_items`` items and, padded to its longest, at most
    ``max_tokens`` tokens; a longer item gets a batch to itself.

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
    parts: Sequence[tuple[Sequence[int], Embeddings]], n_items: int, n_rows: int, embed_dim: int
) -> Embeddings:
    """Place each part's rows at its indices; float32 [n_items, n_rows, embed_dim]."""
    rows = np.zeros((n_items, n_rows, embed_dim), np.float32)
    for indices, embeddings in parts:
        rows[list(indices)] = embeddings
    return rows


def joined(
    parts: Sequence[tuple[Sequence[int], Encoded]],
    n_items: int,
    n_rows: int,
    space: Space,
    cut: int | None = None,
) -> Encoded:
    """Join several results into one, in the order of the items.

    Args:
        parts: for each batch, the places of its items, and what `forward` returned for them.
        n_items: how many items all parts hold.
        n_rows: how many rows an item has.
        space: the space of uncut rows.
        cut: how many of their dimensions are kept; None for all.

    Returns:
        ``rows`` are float32 [n_items, n_rows, cut or embed_dim].

    Raises:
        ModelError: the tower belongs to a different space.
    """
    for _, encoded in parts:
        if encoded.rows.shape[-1] != space.embed_dim:
            raise ModelError(
                f"A tower returned rows of {encoded.rows.shape[-1]} numbers, but the space has "
                f"{space.embed_dim} dimensions.",
                remedy="Join it to the space with `anymodal models bind`.",
            )
    order = np.argsort([index for places, _ in parts for index in places])
    by_item = [(places, batch.rows.reshape(len(places), n_rows, -1)) for places, batch in parts]
    whole = scatter(by_item, n_items, n_rows, space.embed_dim)
    rows = whole if cut is None else l2_normalize(whole[..., :cut])
    stats = TextStats.join([encoded.stats for _, encoded in parts])
    heard = [spans for _, encoded in parts for spans in encoded.heard or ()]
    return Encoded(
        rows, stats.take(order) if stats else None, [heard[i] for i in order] if heard else None
    )


def prepare_all(tower: PluginTower, contents: Sequence[Any]) -> list[Prepared]:
    """Prepare items in parallel, but short texts one after the other.

    Threads take longer to start than short texts take to prepare: in a server whose threads all
    compete for the interpreter, each start waits for milliseconds.
    """
    if len(contents) == 1 or _is_short(contents):
        return [tower.prepare(content) for content in contents]
    with ThreadPoolExecutor(_PREPARE_THREADS) as threads:
        return list(threads.map(tower.prepare, contents))


def _is_short(contents: Sequence[Any]) -> bool:
    """Whether these are texts of a few thousand characters in all."""
    texts = [content for content in contents if isinstance(content, str)]
    return len(texts) == len(contents) and sum(map(len, texts)) <= _SHORT_CHARS
