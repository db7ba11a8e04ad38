"""The status of a job; its end makes its files visible to the next search."""

from __future__ import annotations

from contextlib import suppress

from search.api.ports import Jobs, JobStatus
from search.errors import StoreError
from search.store.base import VectorStore


def job_status(jobs: Jobs, store: VectorStore, job_id: str) -> JobStatus:
    """The status of a job. Once it reports the end, the next search finds its files.

    Other workers wrote them, so this server's reads may otherwise lag by seconds.

    Raises:
        NotFoundError: there is no such job.
    """
    status = jobs.status(job_id)
    if status.ended:
        with suppress(StoreError):  # the job has ended also if the store is away by now
            store.catch_up()
    return status
