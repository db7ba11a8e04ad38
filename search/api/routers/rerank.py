"""``POST /v1/rerank``, Jina's and Voyage's, and ``/v2/rerank``, Cohere's: texts by a question."""

from __future__ import annotations

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from search.api.access.auth import READ
from search.api.bounded_threads import Turn
from search.api.requests.bodies import SentBody, json_body, read_sent
from search.api.responses.plain_values import server_timing
from search.api.services import Parts, Services, disconnected, refusals
from search.api.vendors.cohere import RerankAnswer, RerankRequest
from search.api.vendors.openai import OpenAIRoute
from search.errors import NotFoundError
from search.latency import StageTimer

router = APIRouter(tags=["rerank"], route_class=OpenAIRoute)


@router.post(
    "/v1/rerank",
    operation_id="rerank",
    dependencies=READ,
    response_model=RerankAnswer,
    responses=refusals(400, 404, 413, 415, 503, 504),
    openapi_extra=json_body(RerankRequest),
)
@router.post(
    "/v2/rerank",
    operation_id="rerank_v2",
    dependencies=READ,
    response_model=RerankAnswer,
    responses=refusals(400, 404, 413, 415, 503, 504),
    openapi_extra=json_body(RerankRequest),
)
async def rerank(request: Request, services: Parts) -> Response:
    """Order texts by how well they answer a question."""
    body = await read_sent(request)
    return await services.workbench.run(
        lambda turn: _answer(services, body, turn, request.state.request_id),
        lambda: disconnected(request),
    )


def _answer(services: Services, body: SentBody, turn: Turn, name: str) -> Response:
    timer = StageTimer()
    sent = body.parsed(RerankRequest)
    reranker = services.reranker
    if reranker is None:
        raise NotFoundError("This server has no reranker.", "Name one in ANYMODAL_RERANKER.")
    if sent.model not in (None, reranker.name):
        raise NotFoundError(f"The model {sent.model!r} is not served.", f"Use {reranker.name}.")
    texts = [document.text for document in sent.documents]
    with timer.stage("rerank"):
        scores = reranker.scores(sent.query, texts, turn.deadline.check)
    best = np.argsort(-scores, kind="stable")[: sent.n_wanted]
    ranked = [
        {
            "index": int(index),
            "relevance_score": float(scores[index]),
            **({"document": {"text": texts[index]}} if sent.return_documents else {}),
        }
        for index in best
    ]
    answer = {
        "id": name,
        "model": reranker.name,
        "results": ranked,
        "meta": {"api_version": {"version": "2"}},
    }
    if sent.is_voyage:
        usage = {"total_tokens": reranker.n_tokens(sent.query, texts)}
        answer |= {"object": "list", "data": ranked, "usage": usage}
    headers = {"Server-Timing": server_timing(timer.latency_s()), **sent.headers}
    return Response(to_json(answer), headers=headers, media_type="application/json")
