"""``POST /v1/audio/transcriptions``, OpenAI's."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from encoder.errors import InputError
from encoder.models.spec import stands_for
from encoder.types import AUDIO
from search.api.access.auth import READ
from search.api.requests.bodies import SentBody, described_body, read_sent
from search.api.services import Parts, Services, disconnected, refusals
from search.api.vendors.openai import OpenAIRoute
from search.api.vendors.transcriptions import TranscriptAnswer, TranscriptionRequest, written
from search.errors import NotFoundError

router = APIRouter(tags=["audio"], route_class=OpenAIRoute)
_ALIAS = "whisper-1"
"""What OpenAI's own examples name, and some clients without asking."""
_FORM = {
    "type": "object",
    "required": ["file", "model"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "model": {"type": "string"},
        "response_format": {"enum": ["json", "text", "srt", "vtt", "verbose_json"]},
        "timestamp_granularities[]": {"enum": ["segment"]},
        "stream": {"enum": ["false"]},
    },
}


@router.post(
    "/v1/audio/transcriptions",
    operation_id="transcribe",
    dependencies=READ,
    response_model=TranscriptAnswer,
    responses=refusals(400, 404, 413, 415, 503, 504),
    openapi_extra=described_body({"multipart/form-data": _FORM}),
)
async def transcribe(request: Request, services: Parts) -> Response:
    """Write down what is said in a sound, in its own language.

    `text`, `srt` and `vtt` are plain texts. The language is heard, so `language` and `prompt` are
    ignored, and named in `Ignored-Fields`.
    """
    body = await read_sent(request)
    return await services.workbench.run(
        lambda _turn: _answer(services, body), lambda: disconnected(request)
    )


def _answer(services: Services, body: SentBody) -> Response:
    form = body.form()
    fields = {name: values[-1] for name, values in form.fields.items()}
    sent = TranscriptionRequest.model_validate_json(to_json(fields))
    if sent.model != _ALIAS and not stands_for(sent.model, services.model):
        raise NotFoundError(f"The model {sent.model!r} is not served.", f"Use {services.model}.")
    if services.transcribe is None:
        raise InputError(
            "model", got=services.model, wanted="a server whose model transcribes speech"
        )
    if "file" not in form.files:
        raise InputError("file", got="a form without it", wanted="a sound")
    sound = services.decoder.decode(AUDIO, form.files["file"].data, "file").content
    sentences = services.transcribe(sound)
    data, media_type = written(sentences, sound.duration_s, sent.response_format)
    return Response(data, headers=sent.headers, media_type=media_type)
