"""Requests and answers between processes: a small JSON object, and bytes, over a pair of pipes.

Not pickle: a decoder taken over by a hostile file must not run code in the parent.
"""

from __future__ import annotations

import json
import os
import select
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite, prod
from time import monotonic
from typing import Any

import numpy as np

from encoder.errors import CorruptMediaError, MediaError, MediaLimitError, UnsupportedMediaError
from encoder.types import Modality, Waveform
from ingest.config import IngestConfig
from ingest.kinds.reading import Header
from ingest.kinds.registry import Candidate, named
from ingest.types import Asset, Fact, Segment

_LENGTHS = struct.Struct(">IQ")
_MAX_HEAD_BYTES = 2**20


@dataclass(frozen=True)
class Message:
    """``head`` is JSON; ``payload`` holds raw bytes."""

    head: Mapping[str, Any]
    payload: bytes | bytearray | memoryview = b""


class Channel:
    """One end of a pair of pipes.

    Args:
        read_fd: the pipe to read from.
        write_fd: the pipe to write to.
        max_payload: the most bytes of a payload.
    """

    def __init__(self, read_fd: int, write_fd: int, max_payload: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._max_payload = max_payload
        self._poll = select.poll()
        self._poll.register(read_fd, select.POLLIN)

    def send(self, message: Message) -> None:
        """Write a message; waits while the pipe is full. Raises BrokenPipeError."""
        head = json.dumps(message.head).encode()
        _write(self._write_fd, _LENGTHS.pack(len(head), len(message.payload)) + head)
        _write(self._write_fd, message.payload)

    def has_come(self, timeout_s: float) -> bool:
        """Whether a message begins to arrive within this time, or the other end is closed."""
        return bool(self._poll.poll(max(0.0, timeout_s) * 1000))

    def receive(self, timeout_s: float | None = None) -> Message:
        """Read a message.

        Raises:
            TimeoutError: no message in time.
            EOFError: the other end is closed.
            ValueError: malformed message.
        """
        deadline = None if timeout_s is None else monotonic() + timeout_s
        n_head, n_payload = _LENGTHS.unpack(self._read(_LENGTHS.size, deadline))
        if n_head > _MAX_HEAD_BYTES or n_payload > self._max_payload:
            raise ValueError(f"A message of {n_head:,} and {n_payload:,} bytes.")
        head = json.loads(self._read(n_head, deadline))
        if not isinstance(head, dict):
            raise ValueError("A message without a head.")
        return Message(head, self._read(n_payload, deadline))

    def close(self) -> None:
        """Close both pipes."""
        os.close(self._read_fd)
        os.close(self._write_fd)

    def _read(self, size: int, deadline: float | None) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            wait_ms = None if deadline is None else max(0.0, deadline - monotonic()) * 1000
            if not self._poll.poll(wait_ms):
                raise TimeoutError
            n_read = os.readv(self._read_fd, [view])
            if not n_read:
                raise EOFError
            view = view[n_read:]
        return data


def _write(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


_ERRORS = {
    error_type.__name__: error_type
    for error_type in (MediaError, CorruptMediaError, MediaLimitError, UnsupportedMediaError)
}
_DTYPES = ("uint8", "int16", "int32", "int64", "float16", "float32", "float64")
_PLACES = (
    *("index", "start_s", "end_s", "char_start", "char_end", "snippet"),
    *("confidence", "language", "boxes", "place"),
)


def asset_from_json(facts: Mapping[str, Any]) -> Asset:
    """An asset from its fields."""
    return Asset(**{**facts, "modality": Modality(facts["modality"])})


@lru_cache(maxsize=8)
def config_to_json(config: IngestConfig) -> Mapping[str, Any]:
    """Every field that a decoder needs, so that the child's environment has no effect.

    ``isolate`` is off there.
    """
    return {**config.model_dump(mode="json", exclude={"storage_options"}), "isolate": False}


def header_from_message(message: Message) -> Header:
    """The header in an answer. Raises KeyError, TypeError or ValueError on nonsense."""
    facts = message.head["header"]
    metadata = {str(name): _fact(value) for name, value in facts["metadata"].items()}
    return Header(Modality(facts["modality"]), str(facts["media_type"]), metadata)


def candidates_to_message(candidates: Iterable[Candidate]) -> Message:
    """An answer that holds the kinds that a file may be."""
    facts = [
        (candidate.kind.name, candidate.media_type, candidate.confidence)
        for candidate in candidates
    ]
    return Message({"header": facts})


def candidates_from_message(message: Message) -> tuple[Candidate, ...]:
    """The inverse. Raises KeyError, TypeError or ValueError on nonsense."""
    return tuple(
        Candidate(named(name), str(media_type), float(confidence))
        for name, media_type, confidence in message.head["header"]
    )


def _fact(value: Any) -> Fact:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        return value
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return value
    raise ValueError(f"Metadata of {type(value).__name__}.")


def segment_to_message(segment: Segment) -> Message:
    """An answer that holds a segment: its content is text, an array or a sound."""
    content = segment.content
    head: dict[str, Any] = {name: getattr(segment, name) for name in _PLACES}
    head["modality"] = segment.modality
    if isinstance(content, str):
        return Message({"segment": head}, content.encode("utf-8", "surrogatepass"))
    if isinstance(content, Waveform):
        head["sampling_rate"] = content.sampling_rate
        content = content.samples
    head |= {"dtype": str(content.dtype), "shape": content.shape}
    return Message({"segment": head}, np.ascontiguousarray(content).data.cast("B"))


def segment_from_message(message: Message, asset_id: str) -> Segment:
    """The inverse. Raises KeyError, TypeError or ValueError on nonsense."""
    head = message.head["segment"]
    content = _content(head, message.payload)
    places = {name: head[name] for name in _PLACES}
    return Segment(asset_id, Modality(head["modality"]), content=content, **places)


def _content(head: Mapping[str, Any], payload: bytes | bytearray | memoryview) -> Any:
    if "dtype" not in head:
        return bytes(payload).decode("utf-8", "surrogatepass")
    shape = tuple(int(size) for size in head["shape"])
    if head["dtype"] not in _DTYPES or min(shape, default=0) < 0:
        raise ValueError(f"An array of {head['dtype']}.")
    dtype = np.dtype(head["dtype"])
    if prod(shape) * dtype.itemsize != len(payload):
        raise ValueError(f"{len(payload)} bytes for the shape {shape}.")
    array = np.frombuffer(payload, dtype).reshape(shape)
    return Waveform(array, int(head["sampling_rate"])) if "sampling_rate" in head else array


def error_to_message(error: MediaError) -> Message:
    """An answer that reports a failure."""
    error_type = type(error).__name__ if type(error).__name__ in _ERRORS else "MediaError"
    return Message({"error": error_type, "problem": error.problem, "remedy": error.remedy})


def error_of(facts: Mapping[str, Any]) -> MediaError:
    """The error that these facts describe. Raises KeyError on nonsense."""
    error_type = _ERRORS[facts["error"]]
    return error_type(str(facts["problem"]), remedy=str(facts["remedy"]))
