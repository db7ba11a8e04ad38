"""Jobs on a broker: workers elsewhere do them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Unpack

from search.api.ports import JobOptions
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
        # The calls that the board answers by itself.
        self.status, self.failures, self.recent = board.status, board.failures, board.recent
        self.cancel, self.ping = board.cancel, board.ping

    def submit(self, paths: Sequence[str], **options: Unpack[JobOptions]) -> str:
        """Put a job on the board and find its files in a thread of this process."""
        job_id = self.board.create(paths, **options)
        self._planners.submit(self._plan, job_id)
        return job_id

    def detach(self, paths: Sequence[str], **options: Unpack[JobOptions]) -> str:
        """The same, in a process that outlives this one."""
        job_id = self.board.create(paths, START_S, **options)
        start_planner(job_id)
        return job_id

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
