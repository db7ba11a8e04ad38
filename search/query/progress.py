"""The time and the deadline of one request."""

from __future__ import annotations

from contextlib import AbstractContextManager

from search.latency import StageTimer
from search.query.deadline import Deadline


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

    def warn(self, what: str) -> None:
        """Say once what the answer lacks."""
        if what not in self.warnings:
            self.warnings.append(what)

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Time this block.

        Raises:
            CancelledError, TimeLimitError: of the deadline.
        """
        self.deadline.check()
        return self.timer.stage(name)
