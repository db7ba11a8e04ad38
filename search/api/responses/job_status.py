"""How a job stands, and what its end means for who asks."""

from __future__ import annotations

from contextlib import suppress

from search.api.ports import Jobs, JobStatus
from search.errors import StoreError
from search.store.base import VectorStore


def job_status(jobs: Jobs, store: VectorStore, job_id: str) -> JobStatus:
    """How a job stands; who hears that it ended finds its files with the next search.

    Workers elsewhere wrote them, so that a server's reads may be some seconds behind.

    Raises:
        NotFoundError: there is no such job.
    """
    status = jobs.status(job_id)
    if status.ended:
        with suppress(StoreError):  # the job has ended also if the store is away by now
            store.catch_up()
    return status
