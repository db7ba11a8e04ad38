"""Send lost shards again: those of dead workers, and those whose message was lost."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from workers.jobs.board import JobBoard
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
        silent = [shard_id for shard_id, held in due.items() if held]
        waited = [shard_id for shard_id, held in due.items() if not held]
        return self._send(job_id, silent, "lease_ended") + self._send(job_id, waited, "wait_over")

    def _lost(self, jobs: Sequence[str], empty: set[str]) -> dict[str, list[str]]:
        """The shards of each job that were idle for some sweeps beside an empty queue."""
        before, self._seen = self._seen, {}
        lost: dict[str, list[str]] = defaultdict(list)
        for job_id in jobs if empty else ():
            leased = self._board.shards.leased(job_id)
            for shard_id, shard in self._board.shards.open(job_id).items():
                if shard_id in leased or shard.cost not in empty:
                    continue
                n_sweeps = before.get((job_id, shard_id), 0) + 1
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
