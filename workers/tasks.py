"""Celery tasks: thin, like web views."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from search.errors import StoreError
from search.types import Prune
from workers.app import app
from workers.config import current_settings
from workers.jobs.broker import publish
from workers.pipeline.calibration import Watch
from workers.pipeline.reports import IngestReport
from workers.serving.resources import Resources


@cache
def held() -> Resources:
    """What this worker process holds. Celery calls tasks and signals by name, without settings."""
    return Resources(current_settings())


_watch = Watch(lambda: held().board.locks.alone("calibration"))


@app.task(bind=True, name="anymodal.run_shard", ignore_result=True)
def run_shard(self: Any, job_id: str, shard_id: str) -> str:
    """Run one shard of a job; return its outcome in a word (`workers.jobs.shard_run`)."""
    from billiard.exceptions import SoftTimeLimitExceeded

    from workers.jobs.shard_run import ShardRun
    from workers.observe import metrics, tracing

    resources = held()
    with suppress(StoreError):  # if it is away, its next use reports that
        resources.follow()
    settings, board = resources.settings, resources.board

    @resources.reopening()
    def ingest(*what: Any) -> IngestReport:
        return resources.pipeline().ingest(*what)

    @resources.reopening()
    def forget(folders: Sequence[str], prune: Prune) -> IngestReport:
        return resources.pipeline().forget(folders, prune)

    run = ShardRun(
        board,
        ingest,
        resources.reopen_store,
        publish,
        limit_s=float(settings.task_timeout_s),
        shutdown_s=settings.shutdown_s,
        forget=forget,
    )
    parent = tracing.received(self.request)
    with metrics.task() as counted, tracing.span("shard", parent, job_id=job_id, shard_id=shard_id):
        counted.outcome = run.run(job_id, shard_id)
        if counted.outcome == "done" and settings.calibrate:
            with suppress(SoftTimeLimitExceeded):  # a later shard goes on with it
                _watch.after_shard(resources.encoder(), resources.store())
        return counted.outcome
