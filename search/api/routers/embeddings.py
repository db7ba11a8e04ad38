"""``POST /v1/embeddings``: OpenAI's, extended to other modalities."""

from __future__ import annotations

import base64
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from encoder.types import Embeddings
from search.api.access.auth import READ
from search.api.depends import Parts, disconnected, refusals
from search.api.middleware.bounded_threads import Turn
from search.api.openai.encoding import encode
from search.api.openai.requests import EmbeddingsAnswer, EmbeddingsRequest
from search.api.openai.route import OpenAIRoute
from search.api.requests.bodies import SentBody, embeddings_body, read_sent
from search.api.services import Services
from search.errors import TimeLimitError

router = APIRouter(tags=["embeddings"], route_class=OpenAIRoute)


@router.post(
    "/v1/embeddings",
    operation_id="embed",
    dependencies=READ,
    response_model=EmbeddingsAnswer,
    responses=refusals(400, 404, 413, 415, 503, 504),
    openapi_extra=embeddings_body(),
)
async def embed(request: Request, services: Parts) -> Response:
    """Embed texts and files of all kinds into the shared space; unit vectors."""
    body = await read_sent(request)
    try:
        answer = await services.workbench.run(
            lambda turn: to_json(_answer(services, body, turn)),
            lambda: disconnected(request),
        )
    except TimeLimitError as error:
        raise TimeLimitError(
            error.problem,
            "Send fewer inputs, or the same again: those that are done are remembered.",
        ) from None
    return Response(answer, media_type="application/json")


def _answer(services: Services, body: SentBody, turn: Turn) -> dict[str, Any]:
    asked = EmbeddingsRequest.model_validate_json(body.whole_request())
    encoded = encode(services, asked, body.files, turn)
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": n,
                "embedding": _written(row, asked.encoding_format),
                "windows": None if lengths is None else len(lengths),
            }
            for n, (row, lengths) in enumerate(zip(encoded.rows, encoded.windows, strict=True))
        ],
        "model": services.model,
        "usage": {"prompt_tokens": encoded.n_tokens, "total_tokens": encoded.n_tokens},
    }


def _written(row: Embeddings, encoding_format: str) -> list[float] | str:
    if encoding_format == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode()
    return [float(value) for value in row]
