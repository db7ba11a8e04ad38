"""Shards on their way to the queues: each cost class waits for its own queue alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from workers.jobs.board import JobBoard
from workers.jobs.shard import PRIORITIES, Shard, queue_name
from workers.pipeline.files import CLASSES

Publish = Callable[[str, str, Shard], None]


class Feed:
    """The shards of one job that were found and not sent yet, in order per cost class.

    Args:
        board: where shards are opened.
        job_id: the job.
        planner: who plans it.
        publish: sends a shard's message.
        queue_shards: how many messages may wait in a queue.
        most_files: how many files of a class are held back before the planner must wait.
    """

    def __init__(
        self,
        board: JobBoard,
        job_id: str,
        planner: str,
        publish: Publish,
        *,
        queue_shards: int,
        most_files: int,
    ) -> None:
        self._board = board
        self._job_id = job_id
        self._planner = planner
        self._publish = publish
        self._queue_shards = queue_shards
        self._most_files = most_files
        self._waiting: dict[str, deque[tuple[str, Shard]]] = {cost: deque() for cost in CLASSES}
        self._n_files = dict.fromkeys(CLASSES, 0)

    @property
    def is_empty(self) -> bool:
        """Whether all was sent."""
        return not any(self._waiting.values())

    @property
    def is_full(self) -> bool:
        """Whether so many files of a class wait that no more should be looked for."""
        return any(n >= self._most_files for n in self._n_files.values())

    def add(self, shard_id: str, shard: Shard) -> None:
        """Put a shard behind the others of its class."""
        self._waiting[shard.cost].append((shard_id, shard))
        self._n_files[shard.cost] += len(shard.paths)

    def send(self) -> bool:
        """Send what the queues have room for; False once the job wants no more of this planner."""
        return all(self._send(cost) for cost, waiting in self._waiting.items() if waiting)

    def _send(self, cost: str) -> bool:
        waiting = self._waiting[cost]
        room = self._queue_shards - self._board.depth([queue_name(cost)], PRIORITIES.values())
        for shard_id, shard in [waiting.popleft() for _ in range(min(room, len(waiting)))]:
            if not self._board.shards.add(self._job_id, shard_id, shard, self._planner):
                return False
            self._n_files[cost] -= len(shard.paths)
            self._publish(self._job_id, shard_id, shard)
        return True
