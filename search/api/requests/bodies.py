"""Bodies that endpoints parse themselves: in a thread, or part by part."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from fastapi import Request
from pydantic import BaseModel
from pydantic_core import to_json

from encoder.errors import InputError
from search.api.errors import ContentTypeError, TooLargeError
from search.api.requests.budgets import check_values
from search.api.requests.multipart import FormPart, events
from search.api.schemas import SearchRequest

_REF = "#/components/schemas/{model}"
_JSON = "application/json"
_MEDIA = ("image", "audio", "video")
_MOST_PARTS = 2_200
"""As many as the inputs of one request for embeddings, and some fields beside them."""
SEARCH_PARTS = 100
"""Twice its terms, and all its other fields."""


_LARGE_BYTES = 200_000
_large_body = Lock()
"""Large bodies are parsed one after the other: a parser holds the interpreter, and the event loop
would wait for all of them."""

Model = TypeVar("Model", bound=BaseModel)


class SentFile(NamedTuple):
    """A file in a form, and the client's name for it."""

    data: bytes
    name: str


@dataclass(frozen=True)
class SentBody:
    """A received body: JSON, or the fields and files of a form."""

    json: bytes
    fields: dict[str, list[str]]
    files: dict[str, SentFile]

    def parsed(self, model: type[Model]) -> Model:
        """The JSON of the body, or of a form's field ``request``. Call it in a thread.

        Raises:
            ValidationError: of pydantic.
            InputError: a form without the field ``request``.
            TooLargeError: it has too many values.
        """
        if not self.json and "request" not in self.fields:
            raise InputError("request", got="a form without it", wanted="a field of JSON")
        text = self.json or self.fields["request"][-1].encode()
        with _large_body if len(text) > _LARGE_BYTES else nullcontext():
            check_values(text)
            return model.model_validate_json(text)

    def search(self) -> SearchRequest:
        """The search request, from ``request`` or else from a form's other fields.

        Raises:
            ValidationError: of pydantic.
            InputError: fields that do not go together.
        """
        if self.json or "request" in self.fields:
            return self.parsed(SearchRequest)
        terms: list[dict[str, Any]] = [{"text": text} for text in self.fields.get("text", [])]
        terms += map(_term_of, self.files)
        options = {
            name: _value(name, values[-1]) for name, values in self.fields.items() if name != "text"
        }
        return SearchRequest.model_validate_json(to_json({**options, "query": terms}))


async def _read_json(request: Request) -> bytes:
    """The whole body, whose size the edge bounds."""
    sent = request.headers.get("content-type", _JSON).partition(";")[0].strip().lower()
    if sent != _JSON:
        raise ContentTypeError(f"The body is {sent or 'of no type'}.", f"Send {_JSON}.")
    return await request.body()


async def read_sent(request: Request, most_parts: int = _MOST_PARTS) -> SentBody:
    """A request as JSON or as a form with files.

    Raises:
        ContentTypeError: neither.
        InputError: not a form.
        TooLargeError: a form of too many parts.
    """
    sent = request.headers.get("content-type", "")
    if not sent.lower().startswith("multipart/form-data"):
        return SentBody(await _read_json(request), {}, {})
    fields: dict[str, list[str]] = {}
    files: dict[str, SentFile] = {}
    part, data = FormPart("", None), bytearray()
    n_parts, n_named = 0, dict[str, int]()
    async for event in events(sent, request.stream()):
        if isinstance(event, FormPart):
            part, data = event, bytearray()
            n_parts += 1
            if n_parts > most_parts:
                raise TooLargeError(
                    f"The form has more than {most_parts:,} parts.", "Send several requests."
                )
        elif event is not None:
            data += event
        elif part.filename is None:
            fields.setdefault(part.name, []).append(data.decode(errors="replace"))
        else:
            name = _free_name(part.name, files, n_named)
            files[name] = SentFile(bytes(data), part.filename)
    return SentBody(b"", fields, files)


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """For ``openapi_extra=``: a body that is this model."""
    reference = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {_JSON: {"schema": reference}}}}


def search_body() -> dict[str, Any]:
    """For ``openapi_extra=``: JSON, a form with files, or a spoken question."""
    described = json_body(SearchRequest)
    described["requestBody"]["content"]["audio/*"] = {
        "schema": {
            "type": "string",
            "format": "binary",
            "description": "A spoken question. The fields of a form may be given in the URL. "
            "`audio/pcm` (signed 16-bit, mono, 16,000 Hz) and `audio/wav` of the same are "
            "recognised as they arrive.",
        }
    }
    file = {"type": "string", "format": "binary"}
    described["requestBody"]["content"]["multipart/form-data"] = {
        "schema": {
            "type": "object",
            "description": "Either `request`, whose terms name files by part, or files and "
            "`text` alone; then the other fields of a request may be form fields. A file is sent "
            "as `file`, or as a part named after its kind.",
            "properties": {
                "request": {"type": "string", "description": "A SearchRequest as JSON."},
                "text": {"type": "string"},
                **dict.fromkeys(("file", *_MEDIA), file),
            },
        }
    }
    return described


def _term_of(part_name: str) -> dict[str, Any]:
    """A file as a term, by the name of its part: a modality, a kind, or ``file``."""
    name = part_name.partition("#")[0]
    if name in _MEDIA:
        return {name: {"file": part_name}}
    return {"file": part_name} if name == "file" else {"kind": name, "file": part_name}


def _free_name(name: str, taken: dict[str, SentFile], n_named: dict[str, int]) -> str:
    """A name that is not taken: several files can share the name of a part.

    ``n_named`` remembers the last number of each name: else every file would try all again.
    """
    free = name
    while free in taken:
        n_named[name] = n_named.get(name, 1) + 1
        free = f"{name}#{n_named[name]}"
    return free


def _value(name: str, text: str) -> Any:
    if name == "cursor":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
