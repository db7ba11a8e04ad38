"""Celery tasks: thin, like web views."""

from __future__ import annotations

import random
from typing import Any

from workers import resources, retry
from workers.app import app
from workers.config import Settings


@app.task(bind=True, name="anymodal.ingest_shard", max_retries=retry.MAX_RETRIES)
def ingest_shard(self: Any, paths: list[str]) -> dict[str, Any]:
    """Ingest these files; the report as JSON (`workers.reports.IngestReport`)."""
    from workers.jobs import IngestJob

    settings = Settings()
    try:
        job = IngestJob(
            resources.shared_encoder(),
            resources.shared_store(),
            batch_segments=settings.batch_segments,
            decode_threads=settings.decode_threads,
        )
        return job.run(paths).as_json()
    except Exception as error:
        if not retry.may_heal(error):
            raise
        wait_s = retry.delay_s(self.request.retries, random.random())
        raise self.retry(exc=error, countdown=wait_s) from error
