"""Who finds a job's files: one planner at a time, and another when it falls silent."""

from __future__ import annotations

import json
from collections.abc import Mapping

from workers.jobs import redis_scripts as lua
from workers.jobs.redis_link import RUNNING, RedisLink, key
from workers.jobs.shard import Shard

START_S = 30.0
"""How long a planner may take to start: a Python process with Celery, on a busy machine."""
_WORKERS = "anymodal:workers"
_ABSENT_S = 15.0
"""A worker that has not looked for jobs without a planner for this long is not counted on."""


class PlannerLeases:
    """The planners of jobs, each with its own name."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def begin(self, job_id: str, planner: str) -> bool:
        """Become the job's planner; False if another one is, or nothing is left to plan."""
        return bool(self._link.run(lua.PLAN, job_id, planner, self._link.lease_s))

    def renew(self, job_id: str, planner: str) -> bool:
        """Keep the lease; False if the job is no longer this planner's."""
        return bool(self._link.run(lua.PLANNING, job_id, planner, self._link.lease_s))

    def leave(self, job_id: str, planner: str) -> None:
        """Leave the rest of the job to another planner."""
        self._link.run(lua.LEAVE, job_id, planner)

    def finish(self, job_id: str, planner: str, last: Mapping[str, Shard] | None = None) -> bool:
        """Note that all shards were added; ``last`` is added too, without counting files."""
        opened = {name: shard.dumps() for name, shard in (last or {}).items()}
        return bool(self._link.run(lua.PLANNED, job_id, planner, json.dumps(opened)))

    def fail(self, job_id: str, planner: str, reason: str) -> None:
        """Note why the rest cannot be planned; the job fails once its open shards are done."""
        self._link.run(lua.FAIL, job_id, planner, reason)

    def cursors(self, job_id: str) -> dict[str, str]:
        """The last file of each cost class that was added."""
        facts = self._link.patiently(lambda: self._link.redis.hgetall(key(job_id)))
        return {
            name.removeprefix("cursor:"): json.loads(path)
            for name, path in facts.items()
            if name.startswith("cursor:")
        }

    def orphans(self, worker: str) -> list[str]:
        """The jobs whose planner fell silent, for a worker that may plan them."""
        found = self._link.redis.eval(
            lua.ORPHANS, 2, RUNNING, _WORKERS, worker, _ABSENT_S, key("") + ":"
        )
        return sorted(found)

    def hand_over(self, job_id: str) -> bool:
        """Keep a job without a planner for one that is being started; False if it has one."""
        return bool(self._link.run(lua.HAND_OVER, job_id, START_S))

    def decline(self, job_id: str, worker: str, reason: str) -> None:
        """Note why this worker cannot plan a job; it fails once all workers have declined it."""
        self._link.run(lua.DECLINE, job_id, worker, reason, _WORKERS, 2 * self._link.lease_s)
