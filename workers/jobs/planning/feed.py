"""Shards on their way to the queues: each cost class waits for its own queue alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from workers.jobs.board import JobBoard
from workers.jobs.shard import PRIORITIES, Shard, queue_name
from workers.pipeline.files import CLASSES

Publish = Callable[[str, str, Shard], None]

_HELD_BACK_FILES = 10_000
"""The most files of one class that are held back: a few megabytes of names."""


@dataclass
class Feed:
    """The shards of one job that were found but not sent yet, in order per cost class."""

    board: JobBoard
    """Where shards are opened."""
    job_id: str
    planner: str
    """Who plans the job."""
    publish: Publish
    """Sends a shard's message."""
    queue_shards: int
    """How many messages may wait in a queue."""
    _waiting: dict[str, deque[tuple[str, Shard]]] = field(
        default_factory=lambda: {cost: deque() for cost in CLASSES}
    )
    _n_files: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))

    @property
    def is_empty(self) -> bool:
        """Whether all was sent."""
        return not any(self._waiting.values())

    @property
    def is_full(self) -> bool:
        """Whether so many files of one class wait that no more should be looked for."""
        return any(n >= _HELD_BACK_FILES for n in self._n_files.values())

    def add(self, shard_id: str, shard: Shard) -> None:
        """Put a shard behind the others of its class."""
        self._waiting[shard.cost].append((shard_id, shard))
        self._n_files[shard.cost] += len(shard.paths)

    def send(self) -> bool:
        """Send what fits into the queues; False once the job takes no more from this planner."""
        return all(self._send(cost) for cost, waiting in self._waiting.items() if waiting)

    def _send(self, cost: str) -> bool:
        waiting = self._waiting[cost]
        room = self.queue_shards - self.board.depth([queue_name(cost)], PRIORITIES.values())
        for shard_id, shard in [waiting.popleft() for _ in range(min(room, len(waiting)))]:
            if not self.board.shards.add(self.job_id, shard_id, shard, self.planner):
                return False
            self._n_files[cost] -= len(shard.paths)
            self.publish(self.job_id, shard_id, shard)
        return True
