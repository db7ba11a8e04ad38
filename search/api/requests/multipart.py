"""Multipart bodies as a stream of parts, so that files of any size need little memory.

Starlette's own parser spools files in the temporary folder, which is in memory on many systems.
"""

from __future__ import annotations

from dataclasses import dataclass

from encoder.errors import InputError

_MAX_NAME_CHARS = 1000


@dataclass(frozen=True)
class FormPart:
    """The beginning of a part: a field, or a file if it has a ``filename``."""

    name: str
    filename: str | None


Event = FormPart | bytes | None
"""The beginning of a part, some of its bytes, or (None) its end."""


class FormParser:
    """Parses a body piece by piece. Use it in a thread: small parts take longer than their bytes.

    Raises:
        InputError: not a multipart body.
    """

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
