"""What to do with work that failed; the same with a broker and without one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from encoder.errors import AnymodalError, DiskError, MediaError, ModelUnavailableError
from search.errors import (
    OutsideError,
    ReadOnlyStoreError,
    SpaceMismatchError,
    StoreBusyError,
    StoreError,
    StoreGoneError,
    StoreUnavailableError,
)

T = TypeVar("T")

MAX_RETRIES = 5
MAX_CRASHES = 3
_DISK_S = 5.0
AWAY = (StoreUnavailableError, StoreBusyError, DiskError, ModelUnavailableError)
"""What is waited for without limit, and uses up no try."""


@dataclass(frozen=True)
class Again:
    """Try again after ``delay_s``; ``forgiven``: this try does not count."""

    delay_s: float
    forgiven: bool = False


@dataclass(frozen=True)
class Divide:
    """Nobody foresaw the error, and it may be one file's fault: try the files one by one."""


@dataclass(frozen=True)
class GiveUp:
    """The error is permanent: set the work aside."""


Verdict: TypeAlias = Again | Divide | GiveUp
Pause: TypeAlias = Callable[[Again, Exception, int], bool]


class FailedError(Exception):
    """Work ended without a result: ``error`` says why, ``verdict`` what to do."""

    def __init__(self, error: Exception, verdict: Verdict) -> None:
        super().__init__(str(error))
        self.error, self.verdict = error, verdict


def tried(
    work: Callable[[], T],
    n_files: int,
    pause: Pause,
    *,
    failures: int = 0,
    passed_on: tuple[type[Exception], ...] = (),
) -> T:
    """The result of work on a shard, repeated as long as `decide` and ``pause`` want it.

    Args:
        n_files: how many files it has.
        pause: waits, for the error and the number of tries that ended with one like it; false if
            the work is to be tried elsewhere or later.
        failures: how often it failed before.

    Raises:
        FailedError: it did not succeed.
    """
    n_away = 0
    while True:
        try:
            return work()
        except passed_on:
            raise
        except Exception as error:
            is_away = isinstance(error, AWAY)
            n_away, failures = n_away + is_away, failures + (not is_away)
            attempt = n_away if is_away else failures
            verdict = decide(error, attempt, random.random(), n_files)
            if not isinstance(verdict, Again) or not pause(verdict, error, attempt):
                raise FailedError(error, verdict) from error


def decide(error: Exception, attempt: int, jitter: float, n_files: int = 1) -> Verdict:
    """Whether to repeat a shard that failed as a whole.

    A store or broker that is away, or a full disk, is waited for without limit and uses up no try.
    After other errors that may be temporary, the shard is tried `MAX_RETRIES` times. After a
    permanent one (a corrupt file, a different space) it is set aside at once. After one that nobody
    foresaw, its files are tried one by one, and a single one a second time; so are those of a shard
    of which a file may not be stored, but once.

    >>> decide(StoreUnavailableError("away"), attempt=99, jitter=0.0)
    Again(delay_s=30.0, forgiven=True)
    >>> decide(SpaceMismatchError("another space"), attempt=1, jitter=0.0)
    GiveUp()
    >>> decide(ZeroDivisionError(), attempt=1, jitter=0.0, n_files=96)
    Divide()
    """
    if isinstance(error, DiskError):
        return Again(_DISK_S * (1 + jitter), forgiven=True)
    if isinstance(error, AWAY):
        return Again(min(30.0, delay_s(attempt - 1, jitter)), forgiven=True)
    if may_heal(error) and attempt <= MAX_RETRIES:
        return Again(delay_s(attempt - 1, jitter))
    if isinstance(error, AnymodalError) and not (isinstance(error, OutsideError) and n_files > 1):
        return GiveUp()
    if n_files > 1:
        return Divide()
    return Again(delay_s(0, jitter)) if attempt == 1 else GiveUp()


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
