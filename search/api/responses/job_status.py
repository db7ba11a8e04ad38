"""The status of a job; its end makes its files visible to the next search."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import Any

from search.api.ports import Job, Jobs
from search.api.responses.plain_values import job_json
from search.api.services import Services
from search.errors import StoreError
from search.store.base import VectorStore

_MOST_FAILURES = 1000


def job_status(jobs: Jobs, store: VectorStore, job_id: str) -> Job:
    """The status of a job. Once it reports the end, the next search finds its files.

    Other workers wrote them, so this server's reads may otherwise lag by seconds.

    Raises:
        NotFoundError: there is no such job.
    """
    job = jobs.status(job_id)
    if job.ended:
        with suppress(StoreError):  # the job has ended even if the store is unreachable by now
            store.catch_up()
    return job


async def job_document(services: Services, job_id: str) -> tuple[Job, dict[str, Any]]:
    """A job, and its JSON in the API.

    Raises:
        NotFoundError: there is no such job.
    """

    def read(_turn: object) -> tuple[Job, dict[str, Any]]:
        job = job_status(services.jobs, services.store, job_id)
        failures = islice(services.jobs.failures(job_id), _MOST_FAILURES)
        return job, job_json(job, services.uploads, failures)

    return await services.workbench.run(read)
