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
from tempfile import TemporaryFile
from typing import IO

from ingest.sources.objects import is_object
from ingest.sources.urls import is_url
from search.jobs import Job
from search.uploads.folder import id_in_path
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
            request = replace(shards[shard_id].request, priority="interactive")
            self._publish(job_id, shard_id, replace(shards[shard_id], request=request))
        return len(again)


_POLL_S = 0.2
_MOST_STARTS = 3
"""As often, a worker starts a planner that ends before it has begun to plan."""
_SAID_BYTES = 2000


class Takeover:
    """Each worker's main process calls `look` every few seconds.

    It starts each planner as a separate process: finding files may take hours, and the main process
    has messages to receive.
    """

    def __init__(
        self,
        board: JobBoard,
        start: Callable[[str, IO[bytes]], subprocess.Popen[bytes]] = start_planner,
        name: str = "",
    ) -> None:
        self._board = board
        self._start = start
        self._name = name or f"{platform.node()}-{os.getpid()}"
        self._planners: list[tuple[str, subprocess.Popen[bytes], IO[bytes]]] = []
        self._failures: dict[str, list[str]] = defaultdict(list)

    def look(self) -> int:
        """Start a planner for each job that lost its own; return how many."""
        self._planners = [started for started in self._planners if not self._has_ended(*started)]
        taken = 0
        for job_id in self._board.planners.orphans(self._name):
            if reason := self._why_not(self._board.status(job_id)):
                self._board.planners.decline(job_id, self._name, reason)
            elif self._board.planners.hand_over(job_id):
                logger.warning("the planner of job %s fell silent; another one takes over", job_id)
                output = TemporaryFile()  # noqa: SIM115 (closed after its process)
                self._planners.append((job_id, self._start(job_id, output), output))
                taken += 1
        return taken

    def _has_ended(self, job_id: str, process: subprocess.Popen[bytes], output: IO[bytes]) -> bool:
        status = process.poll()
        if status is None:
            return False
        if status:
            output.seek(max(0, output.seek(0, os.SEEK_END) - _SAID_BYTES))
            words = output.read().decode(errors="replace").strip()
            logger.error("a planner of job %s ended with %d: %s", job_id, status, words)
            self._failures[job_id].append(words.rpartition("\n")[2] or f"exit status {status}")
        else:
            self._failures.pop(job_id, None)
        output.close()
        return True

    def _why_not(self, job: Job) -> str | None:
        """Why this worker cannot plan a job, if so."""
        if unseen := unseen_path(job.request.paths):
            return f"{unseen} does not exist on any worker's machine"
        if job.planner:  # the last one began
            self._failures.pop(job.job_id, None)
        failures = self._failures.get(job.job_id, [])
        if len(failures) >= _MOST_STARTS:
            return f"Its planner cannot be started: {failures[-1]}"
        return None


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
