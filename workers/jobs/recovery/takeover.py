"""Jobs whose planner fell silent: a worker that has their files plans the rest."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence

from search.api.ports import Job
from workers.jobs.board import JobBoard
from workers.jobs.planning.planner import start_planner

logger = logging.getLogger(__name__)

_POLL_S = 0.2


class Takeover:
    """Each worker's main process calls `look` every few seconds.

    It starts each planner as a separate process: finding files may take hours, and the main process
    has messages to receive.
    """

    def __init__(
        self,
        board: JobBoard,
        start: Callable[[str], subprocess.Popen[bytes]] = start_planner,
        name: str = "",
    ) -> None:
        self._board = board
        self._start = start
        self._name = name or f"{platform.node()}-{os.getpid()}"
        self._planners: list[subprocess.Popen[bytes]] = []

    def look(self) -> int:
        """Start a planner for each job that lost its own; return how many."""
        self._planners = [p for p in self._planners if p.poll() is None]  # wait for those that died
        taken = 0
        for job_id in self._board.planners.orphans(self._name):
            job = self._board.status(job_id)
            if unseen := unseen_path(job.paths):
                reason = f"{unseen} does not exist on any worker's machine"
                self._board.planners.decline(job_id, self._name, reason)
            elif self._board.planners.hand_over(job_id):
                logger.warning("the planner of job %s fell silent; another one takes over", job_id)
                self._planners.append(self._start(job_id))
                taken += 1
        return taken


def unseen_path(paths: Sequence[str]) -> str | None:
    """The first path that this machine does not have.

    URLs never count, nor do uploads: each is one file, which the worker that ingests it fetches.
    """
    from ingest.sources.objects import is_object
    from ingest.sources.remote import is_url
    from search.api.uploads.folder import id_in_path

    far = (is_url, is_object, id_in_path)
    local = (path for path in paths if not any(is_far(path) for is_far in far))
    return next((path for path in local if not os.path.lexists(path)), None)


def lost_its_planner(board: JobBoard, job_id: str, on_wait: Callable[[Job], None]) -> bool:
    """Whether a job that is being planned has no planner alive.

    A living planner renews its lease once a quarter of it has passed. For a dead one, this waits
    until the lease ends.

    Args:
        board: where the job is.
        job_id: its id.
        on_wait: called once with the job if there is a wait.
    """
    job = first = board.status(job_id)
    while job.state == "planning" and job.planner_until == first.planner_until:
        if job.planner_lost:
            return True
        if job is first:
            on_wait(job)
        time.sleep(_POLL_S)
        job = board.status(job_id)
    return False
