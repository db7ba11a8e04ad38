"""Tags and metadata from the command line. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from encoder.errors import InputError
from search.types import Labels

# Facts of the file cannot be overridden; tags have their own option.
_FROM_THE_FILE = frozenset(
    {"duration_s", "width", "height", "modified", "taken", "latitude", "longitude", "camera_model"}
    | {"city", "region", "country", "places", "gone_since", "object_versions", "tags"}
)
_TEXTS = frozenset({"title", "language"})
_MAX_BYTES = 32_768


def read_labels(tags: Sequence[str], pairs: Sequence[str]) -> Labels:
    """Labels from ``--tag`` and ``--metadata``.

    Args:
        tags: empty ones are skipped, so that a single empty tag removes all tags.
        pairs: ``KEY=VALUE``; a value is parsed as JSON if it is JSON, else it is a text.

    Raises:
        InputError: not a pair, a reserved name, or too much.

    >>> read_labels(["sea", "night"], ["year=1999", "license=CC0", "where={\\"lat\\": 54.5}"])
    {'year': 1999, 'license': 'CC0', 'where': {'lat': 54.5}, 'tags': ['sea', 'night']}
    """
    labels = dict(map(_pair, pairs))
    if tags:
        labels["tags"] = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    n_bytes = len(json.dumps(labels).encode())
    if n_bytes > _MAX_BYTES:
        raise InputError(
            "--metadata", got=f"{n_bytes:,} bytes", wanted=f"{_MAX_BYTES:,} bytes at most"
        )
    return labels


def _pair(pair: str) -> tuple[str, Any]:
    key, equals, text = pair.partition("=")
    if not equals or not key:
        raise InputError("--metadata", got=repr(pair), wanted="KEY=VALUE, such as license=CC0")
    if key in _FROM_THE_FILE:
        raise InputError(
            "--metadata",
            got=f"{key}, set by the file",
            wanted="another name (--tag for tags)",
        )
    return key, text if key in _TEXTS else _value(text)


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> None:
    raise ValueError(name)  # NaN and infinity are Python's, not JSON
