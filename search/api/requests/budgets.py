"""What one request may ask for: values of JSON, and tokens of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from search.api.errors import TooLargeError
from search.errors import TooCostlyError


def check_values(pieces: Iterable[bytes], most: int, most_containers: int) -> None:
    """Count the values of a body before it is parsed. What is in strings costs nothing.

    A parser holds the interpreter until it has ended: for 48 MB of ``[1],`` this takes nine
    seconds. To count them takes a tenth of one, and other threads run after each piece.

    >>> check_values([b'{"query": "', b"," * 10**6, b'"}'], 1000, 1000)
    >>> check_values([b"[", b"1," * 10**6, b"1]"], 1000, 1000)
    Traceback (most recent call last):
        ...
    search.api.errors.TooLargeError: The request has more than 1,000 values. Send less.
    """
    n_quotes = n_values = n_containers = 0
    rest = b""
    for piece in pieces:
        text = rest + piece
        rest = b""
        if b"\\" in text:
            if (len(text) - len(text.rstrip(b"\\"))) % 2:  # what it escapes is in the next piece
                text, rest = text[:-1], text[-1:]
            text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
        is_inside = n_quotes % 2
        n_quotes += text.count(b'"')
        _check(n_quotes // 2, most, "strings")
        between = b"".join(text.split(b'"')[is_inside::2])
        n_values += between.count(b",")
        _check(n_values, most, "values")
        n_containers += between.count(b"[") + between.count(b"{")
        _check(n_containers, most_containers, "lists and objects")


def _check(n: int, limit: int, what: str) -> None:
    if n > limit:
        raise TooLargeError(f"The request has more than {limit:,} {what}.", "Send less.")


SEARCH_TOKENS = 20_480
"""Of all texts in one search: one of the greatest length fits, whatever its language. About nine
seconds of one core."""
_CHARS_PER_TOKEN = 8
"""More characters than these are counted as a token: spaces, too, are read several times."""


class TokenBudget:
    """Counts the tokens of a request before any of its texts is encoded.

    Args:
        most: the most tokens of one request.
        check: called before each text is read; it may raise.

    >>> budget = TokenBudget(10, check=lambda: None)
    >>> budget.spend("one two", lambda: 4)
    >>> budget.spend("many words", lambda: 7)
    Traceback (most recent call last):
        ...
    search.errors.TooCostlyError: The texts have more than 10 tokens together. ...
    """

    def __init__(self, max_tokens: int, check: Callable[[], None]) -> None:
        self._most = self._left = max_tokens
        self._check = check

    def spend(self, text: str, count: Callable[[], int]) -> None:
        """Take the tokens of a text; one that is too long in any case is not read."""
        self._check()
        n_least = len(text) // _CHARS_PER_TOKEN
        if n_least <= self._left:
            self._left -= max(n_least, count())
            if self._left >= 0:
                return
        raise TooCostlyError(
            f"The texts have more than {self._most:,} tokens together.",
            "Send fewer or shorter texts in each of several requests.",
        )
