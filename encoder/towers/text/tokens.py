"""What a text tower knows about tokens: how many a text has, and which text some stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from encoder.errors import InputError


class TokenizedText(Protocol):
    """What a tokenizer makes of a text."""

    @property
    def ids(self) -> list[int]:
        """Token ids, with the start and end marks."""
        ...


class Tokenizer(Protocol):
    """What text towers need from a tokenizer; those of the library ``tokenizers`` have it."""

    def encode(self, text: str, /) -> TokenizedText:
        """Cut a text into tokens. Safe to call in threads."""
        ...

    def decode(self, ids: list[int], /) -> str:
        """The text of token ids, without special tokens; empty where there is none."""
        ...


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
        ...

    def text_of(self, ids: Sequence[int]) -> str:
        """The text that these token ids stand for.

        Raises:
            InputError: they are not what this model's tokenizer makes of a text.
        """
        ...


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

    Args:
        ids: token ids.
        encode: text to ids, with marks.
        decode: ids to text, without marks.

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
