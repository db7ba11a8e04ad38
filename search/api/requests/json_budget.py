"""Refuse JSON of more values than any request needs, before a parser makes them all.

A parser holds the interpreter until it has ended, so that no other thread runs: for 48 MB of
``[1],`` this takes nine seconds. To count them takes a tenth of one, and in steps.
"""

from __future__ import annotations

from search.api.requests.refusal import TooLargeError

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
    search.api.requests.refusal.TooLargeError: The request has more than 500,000 values. Send less.

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


def _check(n: int, most: int, what: str) -> None:
    if n > most:
        raise TooLargeError(f"The request has more than {most:,} {what}.", "Send less.")
