"""The parts of an upload: files to write to disk, fields for tags and metadata."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyio import to_thread

from encoder.errors import InputError
from search.api.config import ApiConfig
from search.api.errors import TooLargeError
from search.api.requests.bodies import Event, FormParser, FormPart
from search.types import FILE_FACTS
from search.uploads import Upload, UploadFolder

_MAX_FIELD_BYTES = 32 * 1024
_MAX_FIELDS = 100
_MAX_TAGS = 100

_NO_PART = FormPart("", None)


@dataclass
class Receiving:
    """One upload being received. `drop` removes what was not kept."""

    uploads: UploadFolder
    config: ApiConfig
    fields: dict[str, list[str]] = field(default_factory=dict)
    _files: list[Upload] = field(default_factory=list)
    _n_bytes: int = 0
    _part: FormPart = _NO_PART
    _text: bytearray = field(default_factory=bytearray)

    async def read(self, content_type: str, stream: AsyncIterable[bytes]) -> None:
        """Take all parts."""
        parser = FormParser(content_type)
        async for piece in stream:
            await to_thread.run_sync(self._add, parser, piece)
        parser.end()

    async def keep(self) -> list[Path]:
        """Move the files to their final place."""
        if not self._files:
            raise InputError("files", got="none", wanted="at least one file")
        facts = self.facts

        def keep_all() -> list[Path]:
            for file in self._files:
                file.admit(facts)
            return [file.keep(facts) for file in self._files]

        return await to_thread.run_sync(keep_all)

    @property
    def facts(self) -> dict[str, Any]:
        """See `facts_of`."""
        return facts_of(self.fields)

    async def drop(self) -> None:
        """Remove files that were not kept."""
        for file in self._files:
            await to_thread.run_sync(file.drop)

    def _add(self, parser: FormParser, piece: bytes) -> None:
        for event in parser.add(piece):
            self._take(event)

    def _take(self, event: Event) -> None:
        if isinstance(event, FormPart):
            self._part = event
            if event.filename is None:
                self._text = bytearray()
                self._check("fields", sum(map(len, self.fields.values())) + 1, _MAX_FIELDS)
            else:
                self._check("files", len(self._files) + 1, self.config.max_upload_files)
                self._files.append(self.uploads.begin(event.filename))
        elif event is None:
            if self._part.filename is None:
                text = self._text.decode(errors="replace")
                self.fields.setdefault(self._part.name, []).append(text)
            else:
                self._files[-1].end()
        elif self._part.filename is None:
            self._text += event
            self._check(f"bytes in {self._part.name}", len(self._text), _MAX_FIELD_BYTES)
        else:
            self._n_bytes += len(event)
            self._check("bytes", self._n_bytes, self.config.max_upload_bytes)
            self._files[-1].write(event)

    def _check(self, what: str, n: int, limit: int) -> None:
        if n > limit:
            raise TooLargeError(f"More than {limit:,} {what} in one upload.", "Send it in parts.")


def facts_of(fields: Mapping[str, list[str]]) -> dict[str, Any]:
    """Tags and metadata from an upload's fields.

    >>> facts_of({"tags": ["sea", "night"], "metadata": ['{"license": "CC0"}']})
    {'license': 'CC0', 'tags': ['sea', 'night']}
    """
    for name in fields:
        if name not in ("tags", "metadata", "wait"):
            raise InputError(name, got="a field", wanted="tags, metadata, wait, and files")
    facts: dict[str, Any] = {}
    for text in fields.get("metadata", []):
        facts |= _metadata(text)
    tags = list(dict.fromkeys(tag.strip() for tag in fields.get("tags", []) if tag.strip()))
    if len(tags) > _MAX_TAGS:
        raise InputError("tags", got=f"{len(tags)} tags", wanted=f"{_MAX_TAGS} at most")
    return {**facts, "tags": tags} if tags else facts


def _metadata(text: str) -> dict[str, Any]:
    wanted = 'a JSON object such as {"license": "CC0"}'
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InputError("metadata", got="text that is not JSON", wanted=wanted) from None
    if not isinstance(found, dict):
        raise InputError("metadata", got=f"a {type(found).__name__}", wanted=wanted)
    if taken := sorted(FILE_FACTS & set(found)):
        raise InputError("metadata", got=f"{taken[0]}", wanted="a name that the file does not set")
    for name in ("title", "language"):
        if not isinstance(found.get(name, ""), str):
            raise InputError(f"metadata.{name}", got=repr(found[name]), wanted="a string")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
