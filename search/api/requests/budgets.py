"""What one request may ask for: values of JSON, and tokens of text.

A parser holds the interpreter until it has ended, so that no other thread runs: for 48 MB of
``[1],`` this takes nine seconds. To count them takes a tenth of one, and in steps.
"""

from __future__ import annotations

from collections.abc import Callable

from search.api.errors import TooLargeError
from search.errors import TooCostlyError

_UNCOUNTED_BYTES = 200_000
"""Whatever is in it, this takes 50 ms."""
_MOST_VALUES = 500_000
"""Token ids, for example: more than can be encoded within the time of a request."""
_MOST_CONTAINERS = 50_000
"""Lists and objects, which take longer than numbers."""


def check_values(body: bytes) -> None:
    """Count the values of a body, if it is large. What is in strings costs nothing.

    >>> check_values(b'{"query": "' + b"," * 10**6 + b'"}')
    >>> check_values(b"[" + b"1," * 10**6 + b"1]")
    Traceback (most recent call last):
        ...
    search.api.errors.TooLargeError: The request has more than 500,000 values. Send less.

    Raises:
        TooLargeError: more values, or more lists and objects, than a request may have.
    """
    if len(body) < _UNCOUNTED_BYTES:
        return
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    _check(body.count(b'"') // 2, _MOST_VALUES, "strings")
    between = b"".join(body.split(b'"')[::2])
    _check(between.count(b","), _MOST_VALUES, "values")
    _check(between.count(b"[") + between.count(b"{"), _MOST_CONTAINERS, "lists and objects")


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
        """Take the tokens of a text; one that is too long in any case is not read.

        Raises:
            TooCostlyError: there are not as many left.
        """
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
