"""``POST /v1/assets``: files in, a job out."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic_core import to_json

from search.api.access.auth import READ, WRITE
from search.api.errors import ContentTypeError
from search.api.requests.uploaded_parts import Receiving
from search.api.responses.contents import HeldFile
from search.api.responses.plain_values import job_document
from search.api.schemas import UploadAnswer
from search.api.services import Parts, Services, refusals
from search.errors import NotFoundError
from search.jobs import Job
from search.types import IngestRequest

router = APIRouter(tags=["assets"])

_POLL_S = 0.2
_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "format": "binary"},
                        "description": "Files; the parts may have any name.",
                    },
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "metadata": {"type": "string", "description": "A JSON object."},
                    "wait": {"type": "string", "enum": ["true", "false"]},
                },
                "additionalProperties": False,
            }
        }
    },
}


@router.post(
    "/v1/assets",
    operation_id="upload_assets",
    dependencies=WRITE,
    status_code=202,
    response_model=UploadAnswer,
    responses={
        200: {"model": UploadAnswer, "description": "With `wait`: the job has ended."},
        **refusals(413, 415, 422, 503, 504, 507),
    },
    openapi_extra={"requestBody": _BODY},
)
async def upload_assets(
    request: Request,
    services: Parts,
    wait: Annotated[bool, Query(description="Respond when the files are searchable.")] = False,
) -> Response:
    """Upload files and ingest them; returns the job.

    Tags and metadata apply to all files of the upload, and filters can use them.
    """
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise ContentTypeError(f"The body is {kind or 'of no type'}.", "Send multipart/form-data.")
    if services.store.read_only:
        services.store.check_writable()
    receiving = Receiving(services.uploads, services.config)
    try:
        await receiving.read(kind, request.stream())
        paths = await receiving.keep()
    finally:
        await receiving.drop()
    files = list(map(str, paths))
    request_to_ingest = IngestRequest(files, receiving.facts, priority="interactive")
    job_id = await services.workbench.run(lambda _: services.jobs.submit(request_to_ingest))
    job, document = await job_document(services, job_id)
    if wait or receiving.fields.get("wait", [""])[-1] == "true":
        job, document = await _ended(services, job, document)
    return Response(
        to_json({"job": document}),
        200 if job.ended else 202,
        {"Location": f"/v1/jobs/{job_id}"},
        "application/json",
    )


UploadId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


@router.get("/v1/uploads/{asset_id}/content", dependencies=READ, include_in_schema=False)
def upload_content(asset_id: UploadId, services: Parts) -> Response:
    """The file of an upload, for a worker on a machine that does not have it."""
    headers = {
        "Content-Disposition": "attachment",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    try:
        file = services.uploads.file_of(asset_id)
        if file:
            return HeldFile(file, "application/octet-stream", headers)
    except OSError:  # removed since
        pass
    raise NotFoundError(f"There is no upload {asset_id}.")


@router.get("/v1/uploads/{asset_id}/facts", dependencies=READ, include_in_schema=False)
def upload_facts(asset_id: UploadId, services: Parts) -> dict[str, Any]:
    """The tags and metadata that came with an upload, for such a worker."""
    file = services.uploads.file_of(asset_id)
    if file is None:
        raise NotFoundError(f"There is no upload {asset_id}.")
    return dict(services.uploads.facts_of(str(file)))


async def _ended(
    services: Services, job: Job, document: dict[str, Any]
) -> tuple[Job, dict[str, Any]]:
    """The job at its end, or its status when the request's time is over."""
    try:
        async with asyncio.timeout(services.config.timeout_s):
            while not (job.ended or services.stopping.is_set()):
                await asyncio.sleep(_POLL_S)
                job, document = await job_document(services, job.job_id)
    except TimeoutError:
        pass
    return job, document
