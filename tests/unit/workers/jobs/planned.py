"""Jobs that were planned, and reports of their shards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from search.types import IngestRequest
from workers.jobs.board import JobBoard
from workers.jobs.planner import plan
from workers.jobs.redis_link import JOBS, key
from workers.jobs.shard import Shard
from workers.pipeline.reports import IngestReport

Sent = list[tuple[str, str, Shard]]
"""The job's id, the shard's id and the shard of each message."""


def sent_of(board: JobBoard, job_id: str, files: Iterable[str], **options: Any) -> Sent:
    """Plan these files of a job; the messages of its shards."""
    sent: Sent = []
    limits = {"shard_files": 2, "queue_shards": 99} | options
    plan(board, job_id, files, lambda *message: sent.append(message), **limits)
    return sent


def planned(board: JobBoard, *names: str, shard_files: int = 2) -> tuple[str, Sent]:
    """A job over these files; its id and the messages of its shards."""
    job_id = board.create(IngestRequest(["/data"]))
    return job_id, sent_of(board, job_id, names, shard_files=shard_files)


def ingested(n: int) -> IngestReport:
    """The report of ``n`` files of three segments each."""
    report = IngestReport(ingested=n, n_bytes=10 * n)
    report.segments["text"] = 3 * n
    return report


def later(board: JobBoard, seconds: float) -> None:
    """Bring the leases and waits of all jobs this many seconds nearer to their end, at once."""
    redis = board.link.redis
    for job_id in redis.zrange(JOBS, 0, -1):
        redis.hincrbyfloat(key(job_id), "planner_until", -seconds)
        for shard in redis.zrange(key(job_id, "lease"), 0, -1):
            redis.zincrby(key(job_id, "lease"), -seconds, shard)
