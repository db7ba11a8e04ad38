"""Celery tasks: thin, like web views."""

from __future__ import annotations

import random
from typing import Any

from workers.app import app
from workers.config import current_settings
from workers.jobs.messages import publish, shared_board
from workers.jobs.recovery import retry
from workers.pipeline.calibration import Watch, alone_here
from workers.serving import resources
from workers.serving.data_folder import shared_uploads

_watch_here = Watch(alone_here)
_watch_shared = Watch(lambda: shared_board().alone("calibration"))


@app.task(bind=True, name="anymodal.ingest_shard", max_retries=retry.MAX_RETRIES)
def ingest_shard(
    self: Any,
    paths: list[str],
    labels: dict[str, Any] | None = None,
    url_hosts: list[str] | None = None,
) -> dict[str, Any]:
    """Ingest these files, and URLs of these hosts.

    Returns:
        the report as JSON (`workers.pipeline.reports.IngestReport`).
    """
    from workers.pipeline.ingest_job import IngestJob

    settings = current_settings()
    try:
        job = IngestJob(
            resources.shared_encoder(),
            resources.shared_store(),
            resources.ingest_config_for(url_hosts),
            batch_segments=settings.batch_segments,
            decode_threads=settings.decode_threads,
            facts_of=shared_uploads().facts_of,
            transcripts=settings.transcripts,
            read_pictures=settings.read_pictures,
        )
        report = job.run(paths, labels=labels).as_json()
    except Exception as error:
        if not retry.may_heal(error):
            raise
        wait_s = retry.delay_s(self.request.retries, random.random())
        raise self.retry(exc=error, countdown=wait_s) from error
    _watch_here.after_shard()
    return report


@app.task(bind=True, name="anymodal.run_shard", ignore_result=True)
def run_shard(self: Any, job_id: str, shard_id: str) -> str:
    """Run one shard of a job; return its outcome in a word (`workers.jobs.shards`)."""
    from billiard.exceptions import SoftTimeLimitExceeded

    from workers.jobs.shards import ShardRun
    from workers.observe import metrics, tracing

    settings = current_settings()
    board = shared_board()
    run = ShardRun(
        board,
        resources.ingest_shared,
        resources.reopen_store,
        publish,
        pause_s=settings.task_timeout_s / 2,
        shutdown_s=settings.shutdown_s,
        forget=resources.forget_shared,
    )
    parent = tracing.received(self.request)
    with metrics.task() as counted, tracing.span("shard", parent, job_id=job_id, shard_id=shard_id):
        try:
            counted.outcome = run.run(job_id, shard_id)
            if counted.outcome == "done":
                _watch_shared.after_shard()
        except SoftTimeLimitExceeded:
            shard = board.open_shards(job_id).get(shard_id)
            limit_s = float(settings.task_timeout_s)
            late = run.out_of_time(job_id, shard_id, shard, limit_s) if shard else "left"
            counted.outcome = late
        return counted.outcome
