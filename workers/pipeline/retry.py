"""Pure: what to do with work that failed."""

from __future__ import annotations

from dataclasses import dataclass

from encoder.errors import AnymodalError, DiskError, MediaError
from search.errors import (
    ReadOnlyStoreError,
    SpaceMismatchError,
    StoreBusyError,
    StoreError,
    StoreGoneError,
    StoreUnavailableError,
)

MAX_RETRIES = 5
MAX_CRASHES = 3
_DISK_S = 5.0


@dataclass(frozen=True)
class Again:
    """Try again after ``delay_s``; ``forgiven``: this try does not count."""

    delay_s: float
    forgiven: bool = False


@dataclass(frozen=True)
class GiveUp:
    """The error is permanent: set the work aside."""


def decide(error: Exception, attempt: int, jitter: float) -> Again | GiveUp:
    """Whether to repeat a shard that failed as a whole.

    A store or broker that is away, or a full disk, is waited for without limit and uses up no try.
    After other errors that may be temporary, and unknown ones, the shard is tried `MAX_RETRIES`
    times. After a permanent one (a corrupt file, a different space) it is set aside at once.

    Args:
        error: what was raised.
        attempt: 1 for the first try.
        jitter: from 0 to 1; spreads the delay.

    >>> decide(StoreUnavailableError("away"), attempt=99, jitter=0.0)
    Again(delay_s=30.0, forgiven=True)
    >>> decide(SpaceMismatchError("another space"), attempt=1, jitter=0.0)
    GiveUp()
    """
    if isinstance(error, StoreUnavailableError | StoreBusyError):
        return Again(min(30.0, delay_s(attempt - 1, jitter)), forgiven=True)
    if isinstance(error, DiskError):
        return Again(_DISK_S * (1 + jitter), forgiven=True)
    known_hopeless = isinstance(error, AnymodalError) and not may_heal(error)
    if known_hopeless or attempt > MAX_RETRIES:
        return GiveUp()
    return Again(delay_s(attempt - 1, jitter))


def may_heal(error: Exception) -> bool:
    """Whether the same task can succeed later: a store that is away, never a corrupt file."""
    if isinstance(error, SpaceMismatchError | ReadOnlyStoreError | StoreGoneError | MediaError):
        return False
    if isinstance(error, AnymodalError):
        # Any store error: a server that came back may have to be opened again.
        return error.retryable or isinstance(error, StoreError)
    return isinstance(error, ConnectionError | TimeoutError)


def delay_s(attempt: int, jitter: float) -> float:
    """Exponential backoff from one second to a minute; ``jitter``, 0 to 1, spreads it by half.

    >>> [delay_s(n, jitter=0.0) for n in range(4)]
    [1.0, 2.0, 4.0, 8.0]
    """
    return float(min(60.0, 2.0 ** min(attempt, 10)) * (1 + jitter / 2))
