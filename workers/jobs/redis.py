"""Jobs on a broker: workers elsewhere do them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from ingest.types import Failure
from search.api.ports import Job
from search.types import Labels
from workers.config import Settings
from workers.jobs.board import JobBoard
from workers.jobs.planning.leases import START_S
from workers.jobs.planning.planner import plan_paths, start_planner

logger = logging.getLogger(__name__)


class RedisJobs:
    """Implements `search.api.ports.Jobs` over a board. Safe to use from threads.

    Args:
        board: where jobs are.
        settings: of the process.
        planning: the same board for the planners, which wait for a broker that is away.
    """

    def __init__(
        self, board: JobBoard, settings: Settings, planning: JobBoard | None = None
    ) -> None:
        self.board = board
        self._settings = settings
        self._planning = planning or board
        self._planners = ThreadPoolExecutor(4, thread_name_prefix="planner")
        self._closing = Event()

    def submit(
        self,
        paths: Sequence[str],
        *,
        priority: str = "normal",
        labels: Labels | None = None,
        prune: bool = False,
        kinds: Sequence[str] = (),
    ) -> str:
        """Put a job on the board and find its files in a thread of this process."""
        job_id = self.board.create(
            paths, priority=priority, labels=labels, prune=prune, kinds=kinds
        )
        self._planners.submit(self._plan, job_id)
        return job_id

    def detach(
        self,
        paths: Sequence[str],
        *,
        priority: str = "normal",
        labels: Labels | None = None,
        prune: bool = False,
        kinds: Sequence[str] = (),
    ) -> str:
        """The same, in a process that outlives this one."""
        job_id = self.board.create(
            paths,
            priority=priority,
            labels=labels,
            prune=prune,
            kinds=kinds,
            start_s=START_S,
        )
        start_planner(job_id)
        return job_id

    def status(self, job_id: str) -> Job:
        """The state of a job. Raises NotFoundError."""
        return self.board.status(job_id)

    def failures(self, job_id: str) -> Iterator[Failure]:
        """The files of a job that were set aside, streamed."""
        return self.board.failures(job_id)

    def recent(self) -> Sequence[Job]:
        """The jobs that have not expired, newest first."""
        return self.board.recent()

    def cancel(self, job_id: str) -> bool:
        """Drop what has not begun; False if the job had ended. Raises NotFoundError."""
        return self.board.cancel(job_id)

    def ping(self) -> None:
        """Return if the broker answers; raises BrokerError if not."""
        self.board.ping()

    def close(self) -> None:
        """Stop the planners; workers plan what is left."""
        self._closing.set()
        self._planners.shutdown(cancel_futures=True)

    def _plan(self, job_id: str) -> None:
        try:
            plan_paths(self._planning, job_id, self._settings, self._closing.is_set)
        except Exception:
            logger.exception("the planner of job %s failed", job_id)
            raise
