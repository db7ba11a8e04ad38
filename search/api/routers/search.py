"""``POST /v1/search``."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from pydantic_core import to_json

from search.api.answers import latency_ms, search_answer, server_timing
from search.api.depends import Parts, disconnected, refusals
from search.api.errors import invalid_body
from search.api.models import SearchAnswer, SearchRequest
from search.api.queries import query_of
from search.api.services import Services
from search.api.workbench import Turn
from search.latency import StageTimer

router = APIRouter(tags=["search"])

Answer = tuple[dict[str, Any], dict[str, float]]


@router.post(
    "/v1/search",
    operation_id="search",
    response_model=SearchAnswer,
    responses=refusals(413, 415, 422, 503, 504),
)
async def search(request: Request, services: Parts) -> Response:
    """Find what is nearest to a text, picture, sound, film, or all of them together."""
    body = await request.body()
    try:
        asked = SearchRequest.model_validate_json(body)
    except ValidationError as error:
        return Response(
            to_json(invalid_body(error.errors()[0])), 422, media_type="application/json"
        )
    answer, latency_s = await services.workbench.run(
        lambda turn: _answer(services, asked, turn), lambda: disconnected(request)
    )
    headers = {"Server-Timing": server_timing(latency_s)}
    return Response(to_json(answer), headers=headers, media_type="application/json")


def _answer(services: Services, asked: SearchRequest, turn: Turn) -> Answer:
    started = perf_counter()
    timer = StageTimer()
    with timer.stage("decode"):
        query = query_of(asked, services.decoder, {})
    result = services.engine.search(query, turn.deadline)
    with timer.stage("serialize"):
        answer = search_answer(result)
    own = timer.latency_s()
    latency_s = {
        "queue": turn.waited_s,
        "decode": own["decode"],
        **result.latency_s,
        "serialize": own["serialize"],
        "total": turn.waited_s + perf_counter() - started,
    }
    services.latency.record(latency_s)
    return {**answer, "latency_ms": latency_ms(latency_s)}, latency_s
