"""Pure: which errors may heal, and how long to wait for it."""

from __future__ import annotations

from encoder.errors import AnymodalError

MAX_RETRIES = 5


def may_heal(error: Exception) -> bool:
    """Whether the same task can succeed later: a store that is away, never a corrupt file."""
    return isinstance(error, AnymodalError) and error.retryable


def delay_s(attempt: int, jitter: float) -> float:
    """Exponential backoff from one second to a minute; ``jitter`` in 0..1 spreads it by half.

    >>> [delay_s(n, jitter=0.0) for n in range(4)]
    [1.0, 2.0, 4.0, 8.0]
    """
    return float(min(60.0, 2.0**attempt) * (1 + jitter / 2))
