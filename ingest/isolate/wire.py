"""Requests and answers as messages. Pure functions; input from a child is not trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import lru_cache
from math import isfinite, prod
from typing import Any

import numpy as np

from encoder.errors import CorruptMediaError, MediaError, MediaLimitError, UnsupportedMediaError
from encoder.types import Modality, Waveform
from ingest.config import IngestConfig
from ingest.isolate.channel import Message
from ingest.kinds.reading import Header
from ingest.kinds.registry import Candidate, named
from ingest.types import Asset, Fact, Segment

_ERRORS = {
    error_type.__name__: error_type
    for error_type in (MediaError, CorruptMediaError, MediaLimitError, UnsupportedMediaError)
}
_DTYPES = ("uint8", "int16", "int32", "int64", "float16", "float32", "float64")
_PLACES = (
    "index",
    "start_s",
    "end_s",
    "char_start",
    "char_end",
    "snippet",
    "confidence",
    "language",
    "boxes",
    "place",
)


def asset_to_json(asset: Asset) -> dict[str, Any]:
    """Plain values."""
    return asdict(asset)


def asset_from_json(facts: Mapping[str, Any]) -> Asset:
    """The inverse of `asset_to_json`."""
    return Asset(**{**facts, "modality": Modality(facts["modality"])})


@lru_cache(maxsize=8)
def config_to_json(config: IngestConfig) -> Mapping[str, Any]:
    """Every field that a decoder needs, so that the child's environment has no effect.

    ``isolate`` is off there.
    """
    return {**config.model_dump(mode="json", exclude={"storage_options"}), "isolate": False}


def header_to_message(header: Header) -> Message:
    """An answer that holds a header."""
    return Message({"header": asdict(header)})


def header_from_message(message: Message) -> Header:
    """The inverse. Raises KeyError, TypeError or ValueError on nonsense."""
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


def error_from_message(message: Message) -> MediaError:
    """The inverse. Raises KeyError on nonsense."""
    return error_of(message.head)


def error_of(facts: Mapping[str, Any]) -> MediaError:
    """The error that these facts describe. Raises KeyError on nonsense."""
    error_type = _ERRORS[facts["error"]]
    return error_type(str(facts["problem"]), remedy=str(facts["remedy"]))
