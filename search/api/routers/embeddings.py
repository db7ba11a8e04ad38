"""``POST /v1/embeddings``, as OpenAI's, and for more than text."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from encoder.errors import InputError
from encoder.types import TEXT, Embeddings, Item
from search.api.auth import READ
from search.api.bodies import json_body, read_body
from search.api.depends import Parts, disconnected, refusals
from search.api.models import EmbeddingsAnswer, EmbeddingsRequest
from search.api.queries import item_of
from search.api.services import Services
from search.api.workbench import Turn
from search.errors import NotFoundError

router = APIRouter(tags=["embeddings"])

_AT_ONCE = 16
"""So many are encoded between two looks at the deadline, and before searches may go between."""


@router.post(
    "/v1/embeddings",
    operation_id="embed",
    dependencies=READ,
    response_model=EmbeddingsAnswer,
    responses=refusals(404, 413, 415, 422, 503, 504),
    openapi_extra=json_body(EmbeddingsRequest),
)
async def embed(request: Request, services: Parts) -> Response:
    """Embed texts, pictures, sounds and films into the shared space; unit vectors."""
    body = await read_body(request, "application/json")
    answer = await services.workbench.run(
        lambda turn: to_json(_answer(services, EmbeddingsRequest.model_validate_json(body), turn)),
        lambda: disconnected(request),
    )
    return Response(answer, media_type="application/json")


def _answer(services: Services, asked: EmbeddingsRequest, turn: Turn) -> dict[str, Any]:
    space = services.encoder.space
    if asked.model not in (None, "", services.model):
        raise NotFoundError(f"The model {asked.model!r} is not served.", f"Use {services.model}.")
    if asked.dimensions not in (None, space.embed_dim):
        raise InputError("dimensions", got=str(asked.dimensions), wanted=str(space.embed_dim))
    label = "input[{}]"
    items = [
        item_of(term, label.format(n), services.decoder, {}) for n, term in enumerate(asked.input)
    ]
    rows = _encode(services, items, turn)
    texts = [item.content for item in items if item.modality == TEXT]
    n_tokens = sum(map(services.count_tokens, texts))
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": n, "embedding": _written(row, asked.encoding_format)}
            for n, row in enumerate(rows)
        ],
        "model": services.model,
        "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens},
    }


def _encode(services: Services, items: list[Item], turn: Turn) -> Embeddings:
    parts = []
    for start in range(0, len(items), _AT_ONCE):
        turn.deadline.check()
        parts.append(services.encoder.encode_items(items[start : start + _AT_ONCE]))
    return np.concatenate(parts)


def _written(row: Embeddings, encoding_format: str) -> list[float] | str:
    if encoding_format == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode()
    return [float(value) for value in row]
