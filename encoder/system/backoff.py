"""How long a client waits before it sends a request again."""

from __future__ import annotations

import random

_FIRST_S = 0.25
_MOST_S = 60.0


def backoff_s(attempt: int, retry_after_s: float | None = None) -> float | None:
    """Seconds after the ``attempt``-th try, from 1; None where the server wants more than a minute.

    What the server asks for in ``Retry-After`` is used. Without it, waits double and vary by half,
    so that clients that failed together do not return together (AWS Architecture Blog, "Exponential
    Backoff And Jitter").

    >>> backoff_s(1, 7.0), backoff_s(1, 3600.0)
    (7.0, None)
    """
    if retry_after_s is not None:
        return retry_after_s if retry_after_s <= _MOST_S else None
    return min(_FIRST_S * 2.0 ** (attempt - 1), _MOST_S) * random.uniform(0.5, 1.0)


def asked_wait_s(retry_after: str) -> float | None:
    """The header ``Retry-After`` in seconds; None if there is none, or it is a date."""
    return float(retry_after) if retry_after.isdecimal() else None
