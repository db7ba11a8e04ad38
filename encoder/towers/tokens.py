"""Texts as tokens: how many, which text some stand for, and windows of those that are long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError
from encoder.space import l2_normalize
from encoder.types import Embeddings


class TokenizedText(Protocol):
    """What a tokenizer makes of a text."""

    @property
    def ids(self) -> list[int]:
        """Token ids, with the start and end marks."""


class Tokenizer(Protocol):
    """What text towers need from a tokenizer; those of the library ``tokenizers`` have it."""

    def encode(self, text: str, /) -> TokenizedText:
        """Cut a text into tokens. Safe to call in threads."""

    def decode(self, ids: list[int], /) -> str:
        """The text of token ids, without special tokens; empty where there is none."""


_LONG_CHARS = 1000


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of a text of any length, while other threads run.

    `tokenizers.Tokenizer.encode` holds the interpreter for 85 ms where a text has 66,000
    characters; its `encode_batch` does not, but costs more for short ones.
    """
    encode_batch = getattr(tokenizer, "encode_batch", None)
    if encode_batch is None or len(text) < _LONG_CHARS:
        return tokenizer.encode(text).ids
    ids: list[int] = encode_batch([text])[0].ids
    return ids


@runtime_checkable
class TokenTower(Protocol):
    """A text tower that can report how it reads a text."""

    def window_lengths(self, content: str) -> list[int]:
        """The tokens of each window in which a text is encoded, with special tokens and prompt."""

    def text_of(self, ids: Sequence[int]) -> str:
        """The text that these token ids stand for.

        Raises:
            InputError: they are not what this model's tokenizer makes of a text.
        """


def readable(text: str) -> str:
    """The text as a tokenizer takes it.

    Halves of surrogate pairs are not characters, but file names that are not UTF-8 have some: pairs
    are joined, the rest become U+FFFD.

    >>> readable("\\ud83d\\ude00 \\udcff")
    '😀 �'
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def text_of(
    ids: Sequence[int],
    encode: Callable[[str], Sequence[int]],
    decode: Callable[[list[int]], str],
) -> str:
    """The text of token ids that a tokenizer made, its start or end marks included.

    Nearly every list of small numbers is a text in nearly every vocabulary. The marks show that
    the list was made with this one; without them another model's tokens would become a wrong text.

    Raises:
        InputError: the ids are not what ``encode`` makes of a text, or it adds no marks.
    """
    marks = list(encode(""))
    text = decode(list(ids)) if marks else ""
    if not text.strip() or list(encode(text)) != list(ids):
        expected = f"text, or ids with the marks {marks}" if marks else "text"
        raise InputError(
            "tokens",
            got=f"{len(ids)} ids, which this model's tokenizer never produces",
            wanted=f"{expected} (LangChain sends text with check_embedding_ctx_length=False)",
        )
    return text


Ids = NDArray[np.int64]


def cut(ids: Ids, max_tokens: int, n_head: int = 1) -> list[Ids]:
    """Windows of similar length, each with the text's start, its prompt and its end mark.

    All are int64 [n_tokens], special tokens included. Each begins with the same ``n_head`` tokens:
    the start mark, and a prompt if any.

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
