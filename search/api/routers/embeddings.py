"""Embeddings of all modalities, as OpenAI and Cohere have them; of texts, as Ollama and TEI do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from encoder.system.metering import current_meter
from search.api.access.auth import READ
from search.api.bounded_threads import Turn
from search.api.requests.bodies import SentBody, described_body, json_body, read_sent
from search.api.services import Parts, Services, disconnected, refusals
from search.api.vendors.cohere import EmbedAnswer, EmbedRequest, EmbedV1Request
from search.api.vendors.compatible import Compatible
from search.api.vendors.encoding import encode, written
from search.api.vendors.openai import EmbeddingsAnswer, EmbeddingsRequest, OpenAIRoute
from search.api.vendors.text_servers import OllamaAnswer, OllamaRequest, TeiRequest
from search.errors import TimeLimitError

router = APIRouter(tags=["embeddings"], route_class=OpenAIRoute)
_embed_at = partial(
    router.post, dependencies=READ, responses=refusals(400, 404, 413, 415, 503, 504)
)


_FORM = {
    "type": "object",
    "required": ["request"],
    "description": "`request`, whose inputs name files by part, and the files.",
    "properties": {
        "request": {"type": "string", "description": "An EmbeddingsRequest as JSON."},
    },
}


@_embed_at(
    "/v1/embeddings",
    operation_id="embed",
    response_model=EmbeddingsAnswer,
    openapi_extra=json_body(EmbeddingsRequest),
)
@_embed_at(
    "/v1/embeddings/files",
    operation_id="embed_files",
    response_model=EmbeddingsAnswer,
    openapi_extra=described_body({"multipart/form-data": _FORM}),
)
async def embed(request: Request, services: Parts) -> Response:
    """Embed texts and files of all kinds into the shared space; unit vectors."""
    body = await read_sent(request)
    return await _run(request, services, lambda turn: _answer(services, body, turn))


@_embed_at(
    "/v1/embed",
    operation_id="embed_v1",
    response_model=EmbedAnswer,
    openapi_extra=json_body(EmbedV1Request),
)
async def embed_v1(request: Request, services: Parts) -> Response:
    """Embed texts or pictures; Cohere's former endpoint."""
    body, name = await read_sent(request), request.state.request_id
    parse = partial(body.parsed, EmbedV1Request)
    return await _run(request, services, lambda turn: _by_type(services, body, parse(), turn, name))


@_embed_at(
    "/v2/embed",
    operation_id="embed_by_type",
    response_model=EmbedAnswer,
    openapi_extra=json_body(EmbedRequest),
)
async def embed_by_type(request: Request, services: Parts) -> Response:
    """Embed texts, pictures or both together; Cohere's endpoint."""
    body, name = await read_sent(request), request.state.request_id
    parse = partial(body.parsed, EmbedRequest)
    return await _run(request, services, lambda turn: _by_type(services, body, parse(), turn, name))


@_embed_at(
    "/api/embed",
    operation_id="embed_as_ollama",
    response_model=OllamaAnswer,
    openapi_extra=json_body(OllamaRequest),
)
async def embed_as_ollama(request: Request, services: Parts) -> Response:
    """Embed texts; Ollama's endpoint."""
    body = await read_sent(request)
    return await _run(request, services, lambda turn: _as_ollama(services, body, turn))


@_embed_at(
    "/embed",
    operation_id="embed_as_tei",
    response_model=list[list[float]],
    openapi_extra=json_body(TeiRequest),
)
async def embed_as_tei(request: Request, services: Parts) -> Response:
    """Embed texts; the endpoint of text-embeddings-inference."""
    body = await read_sent(request)
    return await _run(request, services, lambda turn: _as_tei(services, body, turn))


async def _run(request: Request, services: Services, work: Callable[[Turn], Response]) -> Response:
    try:
        answer, meter = await services.workbench.run(
            lambda turn: (work(turn), current_meter()), lambda: disconnected(request)
        )
    except TimeLimitError as error:
        raise TimeLimitError(
            error.problem,
            "Send fewer inputs, or send the same again: finished ones are cached.",
        ) from None
    if meter and meter.tokens:
        said = f"{meter.tokens:.0f} encoded, {meter.kept:.0f} kept"
        answer.headers["Server-Timing"] = f'tokens;desc="{said}"'
    return answer


def _answered(body: bytes, sent: Compatible) -> Response:
    return Response(body, headers=sent.headers, media_type="application/json")


def _listed(values: Iterable[object]) -> bytes:
    """A list as JSON, written value by value: no other thread runs while one is written."""
    return b"[%s]" % b",".join(map(to_json, values))


def _answer(services: Services, body: SentBody, turn: Turn) -> Response:
    sent = body.parsed(EmbeddingsRequest)
    encoded = encode(services, sent, body.files, turn)
    data = _listed(
        {
            "object": "embedding",
            "index": n,
            "embedding": written(row, sent.format, sent.is_packed),
            "windows": None if lengths is None else len(lengths),
        }
        for n, (row, lengths) in enumerate(zip(encoded.rows, encoded.windows, strict=True))
    )
    usage = {"prompt_tokens": encoded.n_tokens, "total_tokens": encoded.n_tokens}
    model = to_json(services.model)
    answer = b'{"object":"list","data":%s,"model":%s,"usage":%s}' % (data, model, to_json(usage))
    return _answered(answer, sent)


def _as_ollama(services: Services, body: SentBody, turn: Turn) -> Response:
    sent = body.parsed(OllamaRequest)
    encoded = encode(services, sent, {}, turn)
    rest = {"model": services.model, "prompt_eval_count": encoded.n_tokens}
    rows = _listed(row.tolist() for row in encoded.rows)
    return _answered(b'{"embeddings":%s,%s' % (rows, to_json(rest)[1:]), sent)


def _as_tei(services: Services, body: SentBody, turn: Turn) -> Response:
    sent = body.parsed(TeiRequest)
    encoded = encode(services, sent, {}, turn)
    return _answered(_listed(row.tolist() for row in encoded.rows), sent)


def _by_type(
    services: Services, body: SentBody, sent: EmbedRequest, turn: Turn, name: str
) -> Response:
    encoded = encode(services, sent, body.files, turn)
    if sent.embedding_types is None:
        kind, embeddings = "floats", _listed(written(row, "float") for row in encoded.rows)
    else:
        kind = "by_type"
        embeddings = b"{%s}" % b",".join(
            b'"%s":%s' % (form.encode(), _listed(written(row, form) for row in encoded.rows))
            for form in dict.fromkeys(sent.embedding_types)
        )
    rest = {
        "id": name,
        "response_type": f"embeddings_{kind}",
        "meta": {
            "api_version": {"version": "2" if type(sent) is EmbedRequest else "1"},
            "billed_units": {"input_tokens": encoded.n_tokens},
        },
    }
    texts = b"null" if sent.texts is None else _listed(sent.texts)
    answer = b'{"embeddings":%s,"texts":%s,%s' % (embeddings, texts, to_json(rest)[1:])
    return _answered(answer, sent)
