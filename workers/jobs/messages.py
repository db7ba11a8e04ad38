"""The board of this process, and messages to the queues."""

from __future__ import annotations

import time
from functools import cache

from workers.config import current_settings
from workers.jobs.board import JobBoard
from workers.jobs.job_types import Shard
from workers.jobs.queues import queue_name

_PATIENCE_S = 600.0


@cache
def shared_board() -> JobBoard:
    """The board on the broker that the settings name."""
    settings = current_settings()
    return JobBoard(settings.broker, ttl_s=settings.job_ttl_s, lease_s=settings.lease_s)


@cache
def impatient_board() -> JobBoard:
    """The same, but a broker that is away is an error at once."""
    settings = current_settings()
    return JobBoard(
        settings.broker, ttl_s=settings.job_ttl_s, lease_s=settings.lease_s, patience_s=0.0
    )


def publish(job_id: str, shard_id: str, shard: Shard) -> None:
    """Publish a shard to the workers; waits for a broker that is away.

    A message may so be sent twice; the second finds the shard done or held.
    """
    _send(job_id, shard_id, shard, _PATIENCE_S)


def publish_now(job_id: str, shard_id: str, shard: Shard) -> None:
    """The same, failing at once, for a main process that has other things to do."""
    _send(job_id, shard_id, shard, 0.0)


def _send(job_id: str, shard_id: str, shard: Shard, patience_s: float) -> None:
    from kombu.exceptions import OperationalError

    from workers.app import app

    deadline = time.monotonic() + patience_s
    while True:
        try:
            app.send_task(
                "anymodal.run_shard",
                (job_id, shard_id),
                queue=queue_name(shard.cost),
                priority=shard.priority,
                headers=shard.trace,
                retry=False,
                ignore_result=True,
            )
            return
        except (OperationalError, OSError):
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.5)
