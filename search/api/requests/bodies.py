"""Bodies that endpoints parse themselves: in a thread, or part by part."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic import BaseModel
from pydantic_core import to_json

from encoder.errors import InputError
from search.api.requests.multipart import Part, events
from search.api.requests.refusal import ContentTypeError
from search.api.schemas import SearchRequest

_REF = "#/components/schemas/{model}"
_MEDIA = ("image", "audio", "video")


@dataclass(frozen=True)
class SearchBody:
    """A received body: JSON, or the fields and files of a form."""

    json: bytes
    fields: dict[str, list[str]]
    files: dict[str, bytes]

    def request(self) -> SearchRequest:
        """The request that it holds; a form's fields may also make one without ``request``.

        Raises:
            ValidationError: of pydantic.
            InputError: fields that do not go together.
        """
        if self.json:
            return SearchRequest.model_validate_json(self.json)
        if "request" in self.fields:
            return SearchRequest.model_validate_json(self.fields["request"][-1])
        terms: list[dict[str, Any]] = [{"text": text} for text in self.fields.get("text", [])]
        for name in self.files:
            kind = name.partition("#")[0]
            if kind not in _MEDIA:
                raise InputError(kind, got="a file", wanted="files in image, audio or video")
            terms.append({kind: {"file": name}})
        others = {
            name: _value(name, values[-1]) for name, values in self.fields.items() if name != "text"
        }
        return SearchRequest.model_validate_json(to_json({**others, "query": terms}))


async def read_body(request: Request, kind: str) -> bytes:
    """The whole body, whose size the edge bounds.

    Raises:
        ContentTypeError: another content type.
    """
    sent = request.headers.get("content-type", kind).partition(";")[0].strip().lower()
    if sent != kind:
        raise ContentTypeError(f"The body is {sent or 'of no type'}.", f"Send {kind}.")
    return await request.body()


async def read_search(request: Request) -> SearchBody:
    """A search as JSON or as a form with files.

    Raises:
        ContentTypeError: neither.
        InputError: not a form.
    """
    sent = request.headers.get("content-type", "")
    if not sent.lower().startswith("multipart/form-data"):
        return SearchBody(await read_body(request, "application/json"), {}, {})
    fields: dict[str, list[str]] = {}
    files: dict[str, bytes] = {}
    part, data = Part("", None), bytearray()
    async for event in events(sent, request.stream()):
        if isinstance(event, Part):
            part, data = event, bytearray()
        elif event is not None:
            data += event
        elif part.filename is None:
            fields.setdefault(part.name, []).append(data.decode(errors="replace"))
        else:
            files[_free_name(part.name, files)] = bytes(data)
    return SearchBody(b"", fields, files)


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """For ``openapi_extra=``: a body that is this model."""
    reference = {"$ref": _REF.format(model=model.__name__)}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}}
    }


def search_body() -> dict[str, Any]:
    """For ``openapi_extra=``: JSON, or a form with files."""
    described = json_body(SearchRequest)
    file = {"type": "string", "format": "binary"}
    described["requestBody"]["content"]["multipart/form-data"] = {
        "schema": {
            "type": "object",
            "description": "Either `request`, whose terms name files by their part, or files and "
            "`text` alone; then the other fields of a request may be fields here.",
            "properties": {
                "request": {"type": "string", "description": "A SearchRequest as JSON."},
                "text": {"type": "string"},
                **dict.fromkeys(_MEDIA, file),
            },
        }
    }
    return described


def _free_name(name: str, taken: dict[str, bytes]) -> str:
    """Several files may come under one name."""
    n, free = 1, name
    while free in taken:
        n += 1
        free = f"{name}#{n}"
    return free


def _value(name: str, text: str) -> Any:
    if name == "cursor":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
