"""Jobs on a broker: workers elsewhere do them."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event

from search.types import IngestRequest
from workers.config import Settings
from workers.jobs.board import JobBoard
from workers.jobs.leases import START_S, repeating
from workers.jobs.planner import plan_paths, start_planner

logger = logging.getLogger(__name__)


class RedisJobs:
    """Implements `search.jobs.Jobs` over a board. Safe to use from threads."""

    def __init__(
        self, board: JobBoard, settings: Settings, planning: JobBoard | None = None
    ) -> None:
        self.board = board
        self._settings = settings
        self._planning = planning or board
        self._planners = ThreadPoolExecutor(4, thread_name_prefix="planner")
        self._waiting: dict[str, None] = {}
        self._closing = Event()
        self._beating = ExitStack()
        self._beating.enter_context(repeating(self._keep_waiting, board.lease_s / 4))
        # The calls that the board answers by itself.
        self.status, self.failures, self.recent = board.status, board.failures, board.recent
        self.cancel, self.ping = board.cancel, board.ping

    def submit(self, request: IngestRequest) -> str:
        """Put a job on the board and find its files in a thread of this process."""
        job_id = self.board.create(request)
        self._waiting[job_id] = None
        self._planners.submit(self._plan, job_id)
        return job_id

    def detach(self, request: IngestRequest) -> str:
        """The same, in a process that outlives this one."""
        job_id = self.board.create(request, START_S)
        start_planner(job_id)
        return job_id

    def close(self) -> None:
        """Stop the planners; workers plan what is left."""
        self._closing.set()
        self._planners.shutdown(cancel_futures=True)
        self._beating.close()

    def _keep_waiting(self) -> None:
        """Keep the jobs for which no thread is free yet: workers may not see their files."""
        for job_id in list(self._waiting):
            self.board.planners.renew(job_id, "")

    def _plan(self, job_id: str) -> None:
        try:
            self._waiting.pop(job_id)
            plan_paths(self._planning, job_id, self._settings, self._closing.is_set)
        except Exception:
            logger.exception("the planner of job %s failed", job_id)
            raise
