"""What happens when a worker, a planner or a message is lost: another takes over."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from ingest.sources.objects import is_object
from ingest.sources.urls import is_url
from search.api.ports import Job
from search.api.uploads.folder import id_in_path
from workers.jobs.board import JobBoard
from workers.jobs.planner import start_planner
from workers.jobs.shard import PRIORITIES, Shard, queue_name
from workers.observe import metrics
from workers.pipeline.files import CLASSES

logger = logging.getLogger(__name__)

EVERY_S = 2.0
_QUIET_SWEEPS = 3


class Sweeper:
    """Each worker's main process calls `sweep` every `EVERY_S` seconds; one of them does it."""

    def __init__(self, board: JobBoard, publish: Callable[[str, str, Shard], None]) -> None:
        self._board = board
        self._publish = publish
        self._seen: dict[tuple[str, str], int] = {}

    def sweep(self) -> int:
        """Send the shards that are due or lost; how many.

        A shard is due when its lease is over: its worker died, or its wait ended. It is lost when
        nobody holds it while the queue of its class is empty, for some sweeps in a row: a worker
        that is killed between taking a message and claiming its shard takes the message along.
        """
        if not self._board.locks.first("sweep", EVERY_S * 0.9):
            return 0
        jobs = self._board.running()
        sent = sum(self._send_due(job_id) for job_id in jobs)
        empty = {
            cost
            for cost in CLASSES
            if not self._board.depth([queue_name(cost)], PRIORITIES.values())
        }
        lost = self._lost(jobs, empty)
        return sent + sum(self._send(job_id, lost[job_id], "message_lost") for job_id in lost)

    def _send_due(self, job_id: str) -> int:
        due = self._board.shards.due(job_id)
        silent = [shard_id for shard_id, is_held in due.items() if is_held]
        waited = [shard_id for shard_id, is_held in due.items() if not is_held]
        return self._send(job_id, silent, "lease_ended") + self._send(job_id, waited, "wait_over")

    def _lost(self, jobs: Sequence[str], empty: set[str]) -> dict[str, list[str]]:
        """The shards of each job that were idle for some sweeps beside an empty queue."""
        seen_before, self._seen = self._seen, {}
        lost: dict[str, list[str]] = defaultdict(list)
        for job_id in jobs if empty else ():
            leased = self._board.shards.leased(job_id)
            for shard_id, shard in self._board.shards.open(job_id).items():
                if shard_id in leased or shard.cost not in empty:
                    continue
                n_sweeps = seen_before.get((job_id, shard_id), 0) + 1
                if n_sweeps < _QUIET_SWEEPS:
                    self._seen[job_id, shard_id] = n_sweeps
                else:
                    lost[job_id].append(shard_id)
        return lost

    def _send(self, job_id: str, shard_ids: list[str], reason: str) -> int:
        if not shard_ids:
            return 0
        shards = self._board.shards.open(job_id)
        again = [shard_id for shard_id in shard_ids if shard_id in shards]
        for shard_id in again:
            logger.info("sending shard %s of job %s again: %s", shard_id, job_id, reason)
            metrics.RESENT.labels(reason).inc()
            # Ahead of shards that have not been tried yet: it has waited already.
            self._publish(job_id, shard_id, replace(shards[shard_id], priority=0))
        return len(again)


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
    far = (is_url, is_object, id_in_path)
    local = (path for path in paths if not any(is_far(path) for is_far in far))
    return next((path for path in local if not os.path.lexists(path)), None)


def lost_its_planner(board: JobBoard, job_id: str, on_wait: Callable[[Job], None]) -> bool:
    """Whether a job that is being planned has no planner alive.

    A living planner renews its lease once a quarter of it has passed. For a dead one, this waits
    until the lease ends.
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
