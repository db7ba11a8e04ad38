"""Bodies that endpoints parse themselves, in a thread."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from fastapi import Request
from pydantic import BaseModel
from pydantic_core import to_json

from encoder.errors import InputError
from encoder.system.stopping import current_check
from search.api.errors import ContentTypeError, TooLargeError
from search.api.requests.budgets import check_values
from search.api.schemas import SearchRequest, Strict

_MAX_NAME_CHARS = 1000


@dataclass(frozen=True)
class FormPart:
    """The beginning of a part: a field, or a file if it has a ``filename``."""

    name: str
    filename: str | None


Event = FormPart | bytes | None
"""The beginning of a part, some of its bytes, or (None) its end."""


class FormParser:
    """Parses a body piece by piece; in a thread, since small parts take longer than their bytes."""

    def __init__(self, content_type: str) -> None:
        from python_multipart.multipart import MultipartParser, parse_options_header

        _, options = parse_options_header(content_type)
        if b"boundary" not in options:
            raise _malformed("no boundary")
        self._ended = False
        self._events: list[Event] = []
        self._header = self._disposition = self._value = b""
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._begin,
                "on_header_field": self._add_header,
                "on_header_value": self._add_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_content,
                "on_part_data": self._add_data,
                "on_part_end": lambda: self._events.append(None),
                "on_end": self._end,
            },
        )

    def add(self, piece: bytes) -> list[Event]:
        """What has come with this piece."""
        from python_multipart.exceptions import FormParserError

        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _malformed(str(error)) from None
        events, self._events = self._events, []
        return events

    def end(self) -> None:
        """Raise unless the body is whole."""
        if not self._ended:
            raise _malformed("a body that ends early")

    def _begin(self) -> None:
        self._disposition = b""

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _begin_content(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise _malformed("a part without a name")
        filename = options.get(b"filename")
        self._events.append(
            FormPart(_text(options[b"name"]), None if filename is None else _text(filename))
        )

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(bytes(data[start:end]))

    def _end(self) -> None:
        self._ended = True


def _text(data: bytes) -> str:
    return data.decode(errors="replace")[:_MAX_NAME_CHARS]


def _malformed(got: str) -> InputError:
    return InputError("body", got=got, wanted="multipart/form-data")


_REF = "#/components/schemas/{model}"
_JSON = "application/json"
_MEDIA = ("image", "audio", "video")
_MOST_PARTS = 2_200
"""As many as the inputs of one request for embeddings, and some fields beside them."""
SEARCH_PARTS = 100
"""Twice its terms, and all its other fields."""
_FORM_TYPE = "multipart/form-data"

_SMALL_BYTES = 20_000
"""Whatever is in it, to parse this takes a few milliseconds."""
_PIECE = 2**20
_LOOK_S = 0.1
_large_body = Lock()
"""Larger bodies are parsed one after the other: a parser holds the interpreter, and the event loop
would wait for all of them."""

Model = TypeVar("Model", bound=Strict)


class SentFile(NamedTuple):
    """A file in a form, and the client's name for it."""

    data: bytes
    name: str


@dataclass(frozen=True)
class Form:
    """The fields and files of a form."""

    fields: Mapping[str, Sequence[str]]
    files: Mapping[str, SentFile] = field(default_factory=dict)

    def parsed(self, model: type[Model]) -> Model:
        """The JSON of the field ``request``; see `SentBody.parsed`."""
        if "request" not in self.fields:
            raise InputError("request", got="a form without it", wanted="a field of JSON")
        return _validated(_in_pieces(self.fields["request"][-1].encode()), model)

    def search(self) -> SearchRequest:
        """The search request, from ``request`` or else from the other fields."""
        if "request" in self.fields:
            return self.parsed(SearchRequest)
        terms: list[dict[str, Any]] = [{"text": text} for text in self.fields.get("text", [])]
        terms += map(_term_of, self.files)
        options = {
            name: _value(name, values[-1]) for name, values in self.fields.items() if name != "text"
        }
        return _validated(_in_pieces(to_json({**options, "query": terms})), SearchRequest)


@dataclass
class SentBody:
    """A received body, JSON or a form. Parse it in a thread.

    Args:
        pieces: the body, as it came.
        content_type: `application/json` or a form's, with the boundary.
        most_parts: the most parts of a form.
    """

    pieces: Sequence[bytes]
    content_type: str
    most_parts: int
    _form: Form | None = None

    def parsed(self, model: type[Model]) -> Model:
        """The JSON of the body, or of a form's field ``request``."""
        form = self._as_form()
        return form.parsed(model) if form else _validated(self.pieces, model)

    def search(self) -> SearchRequest:
        """The search request; raises as `parsed` and `Form.search`."""
        form = self._as_form()
        return form.search() if form else self.parsed(SearchRequest)

    @property
    def files(self) -> Mapping[str, SentFile]:
        """The files of a form, by part."""
        form = self._as_form()
        return form.files if form else {}

    def form(self) -> Form:
        """The fields and files; raises unless it is a form."""
        if form := self._as_form():
            return form
        raise ContentTypeError("The body is JSON.", f"Send {_FORM_TYPE}.")

    def _as_form(self) -> Form | None:
        if self._form is None and self.content_type.lower().startswith(_FORM_TYPE):
            with _turn() if _is_large(self.pieces) else nullcontext():
                self._form = self._parsed_form()
        return self._form

    def _parsed_form(self) -> Form:
        parser, check = FormParser(self.content_type), current_check()
        fields: dict[str, list[str]] = {}
        files: dict[str, SentFile] = {}
        part, data = FormPart("", None), bytearray()
        n_parts, n_named = 0, dict[str, int]()
        for event in (event for piece in self.pieces for event in parser.add(piece)):
            if isinstance(event, FormPart):
                if check:
                    check()
                part, data = event, bytearray()
                n_parts += 1
                if n_parts > self.most_parts:
                    raise TooLargeError(
                        f"The form has more than {self.most_parts:,} parts.",
                        "Send several requests.",
                    )
            elif event is not None:
                data += event
            elif part.filename is None:
                fields.setdefault(part.name, []).append(data.decode(errors="replace"))
            else:
                name = _free_name(part.name, files, n_named)
                files[name] = SentFile(bytes(data), part.filename)
        parser.end()
        return Form(fields, files)


def _validated(pieces: Sequence[bytes], model: type[Model]) -> Model:
    if is_large := _is_large(pieces):
        check_values(pieces, model.most_values, model.most_containers)
    with _turn() if is_large else nullcontext():
        return model.model_validate_json(b"".join(pieces))


@contextmanager
def _turn() -> Iterator[None]:
    """Wait for the turn of a large body, unless nobody waits for the answer any more."""
    check = current_check() or (lambda: None)
    while not _large_body.acquire(timeout=_LOOK_S):
        check()
    try:
        check()
        yield
    finally:
        _large_body.release()


def _in_pieces(text: bytes) -> Sequence[bytes]:
    return [text[n : n + _PIECE] for n in range(0, len(text), _PIECE)]


def _is_large(pieces: Sequence[bytes]) -> bool:
    return sum(map(len, pieces)) > _SMALL_BYTES


async def read_sent(request: Request, most_parts: int = _MOST_PARTS) -> SentBody:
    """A request as JSON or as a form with files; the edge bounds its size."""
    content_type = request.headers.get("content-type", _JSON)
    sent = content_type.partition(";")[0].strip().lower()
    if sent not in (_JSON, _FORM_TYPE):
        raise ContentTypeError(f"The body is {sent or 'of no type'}.", f"Send {_JSON}.")
    return SentBody([piece async for piece in request.stream()], content_type, most_parts)


def described_body(content: Mapping[str, Any]) -> dict[str, Any]:
    """For ``openapi_extra=``: a body by its media types."""
    schemas = {media_type: {"schema": schema} for media_type, schema in content.items()}
    return {"requestBody": {"required": True, "content": schemas}}


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """For ``openapi_extra=``: a body that is this model."""
    return described_body({_JSON: {"$ref": _REF.format(model=model.__name__)}})


def form_of_search() -> dict[str, Any]:
    """For ``openapi_extra=``: a form with files."""
    file = {"type": "string", "format": "binary"}
    properties = {
        "request": {"type": "string", "description": "A SearchRequest as JSON."},
        "text": {"type": "string"},
        **dict.fromkeys(("file", *_MEDIA), file),
    }
    about = (
        "Either `request`, whose terms name files by part, or files and `text` alone; then the "
        "other fields of a request may be form fields. A file is sent as `file`, or as a part "
        "named after its kind."
    )
    form = {"type": "object", "description": about, "properties": properties}
    return described_body({"multipart/form-data": form})


def spoken_question() -> dict[str, Any]:
    """For ``openapi_extra=``: sound."""
    about = (
        "The fields of a form may be given in the URL. `audio/pcm` (signed 16-bit, mono, 16,000 "
        "Hz) and `audio/wav` of the same are recognised as they arrive; other `audio/…` is taken "
        "too. With `partial=true` in the URL, the words so far, and no hits."
    )
    sound = {"type": "string", "format": "binary", "description": about}
    return described_body({"application/octet-stream": sound})


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
    if len(text) > _SMALL_BYTES:
        most, most_containers = SearchRequest.most_values, SearchRequest.most_containers
        check_values(_in_pieces(text.encode()), most, most_containers)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
