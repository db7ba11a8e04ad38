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

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Time this block.

        Raises:
            CancelledError, TimeLimitError: of the deadline.
        """
        self.deadline.check()
        return self.timer.stage(name)
