"""When to send a request again. Pure functions."""

from __future__ import annotations

import random

from encoder.errors import AnymodalError
from search.client.errors import BusyError, UnreachableError

_FIRST_S = 0.25
_MOST_S = 60.0


def wait_s(error: AnymodalError, attempt: int, retries: int) -> float | None:
    """Seconds until the next attempt; None to give up.

    The server's ``Retry-After`` is used. Without one, waits double and vary by half, so that
    clients that failed together do not return together (AWS Architecture Blog, "Exponential Backoff
    And Jitter").

    Args:
        error: what the last attempt ended with.
        attempt: how many were made, from 1.
        retries: the most attempts after the first.

    >>> wait_s(BusyError("busy", status=429, retry_after_s=7.0), 1, 3)
    7.0
    >>> wait_s(BusyError("a deadline passed", status=504), 1, 3) is None
    True
    """
    if attempt > retries or not _is_worth_it(error):
        return None
    asked = getattr(error, "retry_after_s", None)
    if asked is not None:
        return float(asked) if asked <= _MOST_S else None
    return min(_FIRST_S * 2.0 ** (attempt - 1), _MOST_S) * random.uniform(0.5, 1.0)


def _is_worth_it(error: AnymodalError) -> bool:
    """Not after a deadline: the same request would take as long again."""
    if isinstance(error, BusyError):
        return error.status in (429, 503)
    return isinstance(error, UnreachableError)
