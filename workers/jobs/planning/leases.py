"""Who finds a job's files: one planner at a time, and another one when it falls silent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from workers.jobs import redis_scripts as lua

T = TypeVar("T")

RUNNING = "anymodal:jobs:running"
_WORKERS = "anymodal:workers"
START_S = 30.0
"""How long a planner may take to start: a Python with Celery, on a machine that is busy."""
_ABSENT_S = 15.0
"""A worker that has not looked for jobs without a planner for so long is not counted on."""


class PlannerLeases:
    """The part of `workers.jobs.board.JobBoard` that planners and workers ask about planners."""

    lease_s: float
    _redis: Any

    def begin_planning(self, job_id: str, planner: str) -> bool:
        """Become the job's planner; False if another one is, or nothing is left to plan."""
        return bool(self._run(lua.PLAN, job_id, planner, self.lease_s))

    def planning(self, job_id: str, planner: str) -> bool:
        """Keep the lease; False if the job is no longer this planner's."""
        return bool(self._run(lua.PLANNING, job_id, planner, self.lease_s))

    def leave_planning(self, job_id: str, planner: str) -> None:
        """Leave the rest of the job to another planner."""
        self._run(lua.LEAVE, job_id, planner)

    def fail_planning(self, job_id: str, planner: str, reason: str) -> None:
        """Say why the rest cannot be planned; the job fails once what was added is done."""
        self._run(lua.FAIL, job_id, planner, reason)

    def cursors(self, job_id: str) -> dict[str, str]:
        """The last file of each cost class that was added."""
        facts = self.patiently(lambda: self._redis.hgetall(self._key(job_id)))
        return {
            name.removeprefix("cursor:"): json.loads(path)
            for name, path in facts.items()
            if name.startswith("cursor:")
        }

    def orphans(self, worker: str) -> list[str]:
        """The jobs whose planner fell silent, for a worker that may plan them."""
        keys = (RUNNING, _WORKERS)
        found = self._redis.eval(lua.ORPHANS, 2, *keys, worker, _ABSENT_S, self._key("") + ":")
        return sorted(found)

    def hand_over(self, job_id: str) -> bool:
        """Keep a job without a planner for one that is being started; False if it has one."""
        return bool(self._run(lua.HAND_OVER, job_id, START_S))

    def decline(self, job_id: str, worker: str, reason: str) -> None:
        """Say why this worker cannot plan a job; it fails if all who are there say so."""
        self._run(lua.DECLINE, job_id, worker, reason, _WORKERS, 2 * self.lease_s)

    def patiently(self, call: Callable[[], T]) -> T:
        """See `JobBoard.patiently`."""
        raise NotImplementedError

    def _run(self, script: str, job_id: str, *arguments: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def _key(job_id: str, part: str = "") -> str:
        return f"anymodal:job:{job_id}:{part}".rstrip(":")
