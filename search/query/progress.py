"""The time and the deadline of one request."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import TypeVar

from search.errors import IndexNotReadyError
from search.latency import StageTimer
from search.query.deadline import Deadline

T = TypeVar("T")


class Progress:
    """Times the stages of a request; a stage begins only if the deadline allows it.

    >>> progress = Progress(Deadline(30))
    >>> with progress.stage("plan"):
    ...     pass
    >>> list(progress.timer.latency_s())
    ['plan', 'total']
    """

    def __init__(self, deadline: Deadline | None = None) -> None:
        self.deadline = deadline or Deadline()
        self.timer = StageTimer()
        self.warnings: list[str] = []
        """What the answer lacks, in words."""

    def result(self, future: Future[T], otherwise: T) -> T:
        """The result of a call; ``otherwise``, and a warning, while its index is being read."""
        try:
            return self.deadline.result(future)
        except IndexNotReadyError as error:
            self.warn(str(error))
            return otherwise

    def warn(self, what: str) -> None:
        """Note once what the answer lacks."""
        if what not in self.warnings:
            self.warnings.append(what)

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Time this block.

        Raises:
            CancelledError, TimeLimitError: of the deadline.
        """
        self.deadline.check()
        return self.timer.stage(name)
