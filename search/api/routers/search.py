"""``POST /v1/search``, of JSON, a form or sound.

Each body is also an operation of its own, since generated clients have one body for each.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from encoder.types import TEXT, Role
from search.api.access.auth import READ
from search.api.access.paths import filter_for
from search.api.bounded_threads import Turn
from search.api.errors import sees_paths
from search.api.requests.bodies import (
    SEARCH_PARTS,
    Form,
    SentBody,
    form_of_search,
    json_body,
    read_sent,
    spoken_question,
)
from search.api.requests.budgets import SEARCH_TOKENS, TokenBudget
from search.api.requests.queries import query_of
from search.api.requests.spoken import SPEECH, Heard, hear, is_partial, sound_type
from search.api.responses.plain_values import latency_ms, search_answer, server_timing
from search.api.schemas import SearchAnswer, SearchRequest
from search.api.services import Parts, Services, disconnected, refusals
from search.latency import TOTAL, StageTimer
from search.query.query import Query, Term
from search.query.unmatched import unmatched

router = APIRouter(tags=["search"])


_search_at = partial(
    router.post,
    dependencies=READ,
    response_model=SearchAnswer,
    responses=refusals(404, 413, 415, 422, 503, 504),
)


@_search_at("/v1/search", operation_id="search", openapi_extra=json_body(SearchRequest))
@_search_at("/v1/search/files", operation_id="search_by_files", openapi_extra=form_of_search())
@_search_at("/v1/search/spoken", operation_id="search_by_speech", openapi_extra=spoken_question())
async def search(request: Request, services: Parts) -> Response:
    """Find the assets nearest to texts, files of all kinds and stored assets together.

    A body of sound is a spoken question: the words that are heard in it are searched for, and only
    written down, if any, with `partial=true` in the URL, as while somebody still speaks.
    """
    heard = await hear(request, services) if sound_type(request) else None
    if heard and is_partial(request):
        return _words_so_far(heard)
    body: SentBody | Form
    body = heard.asked(request) if heard else await read_sent(request, SEARCH_PARTS)
    answer, latency_s = await services.workbench.run(
        lambda turn: _answer(services, request, body, heard, turn), lambda: disconnected(request)
    )
    headers = {"Server-Timing": server_timing(latency_s)}
    return Response(answer, headers=headers, media_type="application/json")


def _words_so_far(heard: Heard) -> Response:
    latency = latency_ms({"recognize": heard.waited_s, "total": heard.waited_s})
    answer = {"hits": [], "next_cursor": "", "said": heard.json(), "latency_ms": latency}
    return Response(to_json(answer), media_type="application/json")


def _check_tokens(query: Query, services: Services, turn: Turn) -> None:
    """Refuse a query whose texts are long together, before any is read or encoded."""
    budget = TokenBudget(SEARCH_TOKENS, turn.deadline.check)
    for term in query.terms:
        if term.item and term.item.modality == TEXT:
            text = term.item.content
            budget.spend(text, partial(_n_tokens, services, text, term.role))


def _n_tokens(services: Services, text: str, role: Role) -> int:
    return sum(services.tokens.window_lengths(text, role))


def _answer(
    services: Services,
    request: Request,
    body: SentBody | Form,
    heard: Heard | None,
    turn: Turn,
) -> tuple[bytes, dict[str, float]]:
    """The response as JSON, and the seconds of its stages."""
    timer = StageTimer()
    with timer.stage("decode"):
        sent = body.search()
        scopes, roots = request.state.scopes, services.config.public_roots
        allowed_filter = None if sent.filter is None else filter_for(sent.filter, scopes, roots)
        query = query_of(
            sent, services.decoder, body.files, allowed_filter, folder_names=sees_paths(scopes)
        )
        _check_tokens(query, services, turn)
    result = services.searches.search(query, turn.deadline)
    with timer.stage("serialize"):
        answer = search_answer(result, with_uri=sees_paths(scopes))
        answer["warnings"] += unmatched(
            allowed_filter, services.store, is_empty=not result.hits, check=turn.deadline.check
        )
        if heard:
            after_ms = round(heard.after_speech_s() * 1000, 3)
            answer = {**answer, "said": heard.json(), "after_speech_ms": after_ms}
        hits = to_json(answer)
    stages_s = timer.latency_s()
    waited_s = heard.waited_s if heard else 0.0
    latency_s = {
        **({"recognize": waited_s} if heard else {}),
        "queue": turn.waited_s,
        "decode": stages_s["decode"],
        **result.latency_s,
        "serialize": stages_s["serialize"],
        "total": waited_s + turn.waited_s + stages_s["total"],
    }
    kind = SPEECH if heard else ""
    track(services, request.state.request_id, query.terms, latency_s, kind)
    tail = to_json({"latency_ms": latency_ms(latency_s)})
    return hits[:-1] + b"," + tail[1:], latency_s


logger = logging.getLogger("anymodal.slow")


def track(
    services: Services,
    request_id: str,
    terms: Sequence[Term],
    latency_s: Mapping[str, float],
    modality: str = "",
) -> None:
    """Count a search that was answered. What was searched for is not logged: it is private.

    By default, ``modality`` is the result of `kind_of`.
    """
    modality = modality or kind_of(terms)
    services.latency.record(latency_s, modality)
    services.metrics.searched(latency_s, modality)
    if latency_s[TOTAL] * 1000 > services.config.slow_query_ms:
        facts = {"request_id": request_id, "query": modality, "terms": len(terms)}
        logger.warning("%s", json.dumps({**facts, "latency_ms": latency_ms(latency_s)}))


def kind_of(terms: Sequence[Term]) -> str:
    """The terms' modality, or ``asset`` for stored assets; ``mixed`` for several kinds."""
    modalities = {str(term.item.modality) if term.item else "asset" for term in terms}
    return modalities.pop() if len(modalities) == 1 else "mixed"
