"""Ingest jobs: ``/v1/jobs``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from search.api.access.auth import READ, WRITE
from search.api.access.paths import check_sources
from search.api.bounded_threads import Turn
from search.api.requests.bodies import json_body, read_sent
from search.api.requests.uploaded_parts import facts_of
from search.api.responses.plain_values import job_document, job_json
from search.api.schemas import Cancelled, JobOut, JobRequest, JobsAnswer, UploadAnswer
from search.api.services import Parts, Services, refusals
from search.jobs import Job
from search.types import IngestRequest

router = APIRouter(tags=["jobs"])

JobId = Annotated[str, Path(max_length=64)]

_EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["progress", "end"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/JobOut"},
        },
    },
}

_MOST_JOBS = 100
_POLL_S = 0.5
_ALIVE_S = 15.0


@router.get(
    "/v1/jobs",
    operation_id="list_jobs",
    dependencies=READ,
    response_model=JobsAnswer,
    responses=refusals(503, 504),
)
async def list_jobs(services: Parts) -> Response:
    """The last jobs, newest first."""

    def listed(_turn: Turn) -> bytes:  # a hundred jobs may have a hundred thousand paths
        recent = services.jobs.recent()[:_MOST_JOBS]
        return to_json({"jobs": [job_json(job, services.uploads) for job in recent]})

    return Response(await services.workbench.run(listed), media_type="application/json")


@router.post(
    "/v1/jobs",
    operation_id="submit_job",
    dependencies=WRITE,
    status_code=202,
    response_model=UploadAnswer,
    responses=refusals(413, 415, 422, 503, 504, 507),
    openapi_extra=json_body(JobRequest),
)
async def submit_job(request: Request, services: Parts, response: Response) -> dict[str, object]:
    """Ingest objects that lie on other servers; returns the job.

    `ANYMODAL_API__SOURCES` names which; by default none may be.
    """
    body = await read_sent(request)

    def submit(_turn: Turn) -> str:
        job_request = body.parsed(JobRequest)
        check_sources(job_request.sources, services.config.sources)
        sent = {"tags": job_request.tags, "metadata": [to_json(job_request.metadata).decode()]}
        labels = facts_of(sent)
        services.store.check_writable()
        return services.jobs.submit(
            IngestRequest(
                job_request.sources,
                labels,
                job_request.prune,
                job_request.kinds,
                job_request.priority,
            )
        )

    job_id = await services.workbench.run(submit)
    response.headers["Location"] = f"/v1/jobs/{job_id}"
    _, document = await job_document(services, job_id)
    return {"job": document}


@router.get(
    "/v1/jobs/{job_id}",
    operation_id="get_job",
    dependencies=READ,
    response_model=JobOut,
    responses=refusals(404, 422, 503, 504),
)
async def get_job(job_id: JobId, services: Parts) -> dict[str, object]:
    """The status of a job, and the files it set aside with their reasons."""
    _, document = await job_document(services, job_id)
    return document


@router.delete(
    "/v1/jobs/{job_id}",
    operation_id="cancel_job",
    dependencies=WRITE,
    response_model=Cancelled,
    responses=refusals(404, 422, 503, 504),
)
async def cancel_job(job_id: JobId, services: Parts) -> dict[str, object]:
    """Cancel the rest of a job. What is stored stays."""
    done = await services.workbench.run(lambda _turn: services.jobs.cancel(job_id))
    return {"id": job_id, "cancelled": done}


@router.get(
    "/v1/jobs/{job_id}/events",
    operation_id="follow_job",
    dependencies=READ,
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events until the job ends.",
            "content": {"text/event-stream": {"itemSchema": _EVENT}},
        },
        **refusals(404, 422, 503, 504),
    },
)
async def follow_job(job_id: JobId, request: Request, services: Parts) -> StreamingResponse:
    """Server-sent events: ``progress`` at each change and ``end``, each with the job as JSON."""
    job, document = await job_document(services, job_id)
    return StreamingResponse(
        _events(job, document, request, services),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(
    job: Job, document: dict[str, Any], request: Request, services: Services
) -> AsyncIterator[bytes]:
    """Events until the job ends, the client leaves or the server stops."""
    yield _event("progress", document)
    sent, sent_at = _counts(job), monotonic()
    while not (job.ended or services.stopping.is_set() or await request.is_disconnected()):
        await asyncio.sleep(_POLL_S)
        job, document = await job_document(services, job.job_id)
        if _counts(job) != sent:
            yield _event("progress", document)
        elif monotonic() - sent_at > _ALIVE_S:
            yield b": still here\n\n"
        else:
            continue
        sent, sent_at = _counts(job), monotonic()
    if job.ended:
        yield _event("end", document)


def _counts(job: Job) -> tuple[object, ...]:
    """Values that change only when something has happened."""
    return job.state, job.n_done, job.ingested, job.failed, sum(job.segments.values())


def _event(name: str, document: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), to_json(document))
