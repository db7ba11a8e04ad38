"""Long texts in windows: where to cut, and how to join what was encoded. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from encoder.space import l2_normalize
from encoder.types import Embeddings

Ids = NDArray[np.int64]


def cut(ids: Ids, max_tokens: int, n_head: int = 1) -> list[Ids]:
    """Windows of similar length, each with the text's start, its prompt and its end mark.

    Args:
        ids: token ids of a text, with special tokens, int64 [n_tokens].
        max_tokens: the most tokens in a window, with special tokens and prompt.
        n_head: how many tokens each window begins with: the start mark, and a prompt if any.

    >>> [window.tolist() for window in cut(np.array([1, 7, 8, 9, 2]), 4)]
    [[1, 7, 8, 2], [1, 9, 2]]
    """
    if len(ids) <= max_tokens:
        return [ids]
    n_windows = -(-(len(ids) - n_head - 1) // (max_tokens - n_head - 1))
    pieces = np.array_split(ids[n_head:-1], n_windows)
    return [np.concatenate([ids[:n_head], piece, ids[-1:]]) for piece in pieces]


def cut_text(text: str, count: Callable[[str], int], max_tokens: float) -> list[tuple[str, int]]:
    """Windows of similar length and their numbers of tokens, cut at white space if there is any.

    For tokenizers that do not say where a token is in its text.

    Args:
        text: any text.
        count: the number of tokens of a text.
        max_tokens: the most tokens in a window.

    >>> cut_text("a bb ccc dd", len, 6)
    [('a bb', 4), ('ccc dd', 6)]
    """
    n_tokens = count(text)
    if n_tokens <= max_tokens or len(text) < 2:
        return [(text, n_tokens)]
    n_pieces = min(len(text), max(2, -int(-n_tokens // max_tokens)))
    return [
        window for piece in _pieces(text, n_pieces) for window in cut_text(piece, count, max_tokens)
    ]


def pool(rows: Embeddings, lengths: Sequence[int]) -> Embeddings:
    """A document's embedding [d]: the mean of its windows' [n_windows, d], weighted by length.

    That of a document of one window is the window's, to the last digit.
    """
    if len(rows) == 1:
        only: Embeddings = rows[0]
        return only
    weights = np.asarray(lengths, np.float32)
    pooled: Embeddings = l2_normalize((rows * weights[:, None]).sum(0))
    return pooled


def _pieces(text: str, n_pieces: int) -> Iterator[str]:
    """Pieces of similar length, without white space at a cut and without pieces of nothing else."""
    start = 0
    for n in range(1, n_pieces + 1):
        end = max(start + 1, len(text) * n // n_pieces)
        if n < n_pieces:
            space = max(text.rfind(mark, start + (end - start) // 2, end) for mark in " \n\t")
            end = space if space > start else end
        piece = text[start:end].strip()
        if piece:
            yield piece
        start = end
