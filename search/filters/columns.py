"""Columns of segments for filters, derived from their assets' fields. Pure.

Every field that filters know has a column, so that a vector search can include the filter. A field
that an asset lacks, or has with a different type, is stored as `MISSING_NUMBER` or an empty text.
Folders and tags are stored as arrays of keys of 60 bits, since integers are scanned twice as fast
as texts.

An asset has a key for every folder above each of its locations. All assets under a folder have its
key; whether a longer prefix matches is checked in their locations.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from encoder.types import Modality
from search.filters.match import COLUMNS
from search.filters.tree import FIELDS, FieldKind, kind_of
from search.types import AssetRow

UNKNOWN = AssetRow("", Modality("unknown"), "", 0, {}, [])
"""For segments whose commit row is not written yet."""
MISSING_NUMBER = -1e300
MAX_KEYS = 256
MAX_TEXT_BYTES = 256
MAX_METADATA_BYTES = 2048
METADATA_COLUMN = "asset_metadata"
CUT_COLUMN = "asset_is_cut"
KEY_DIGITS = 15
ANYWHERE = 0
"""The only key of an asset with more than `MAX_KEYS` of them."""
MAX_FOLDERS = 4096
MANY_FOLDERS = "*"
"""Replaces the keys of an asset in more than `MAX_FOLDERS` folders: it may be anywhere."""
LISTS = tuple(field for field, field_kind in FIELDS.items() if field_kind is FieldKind.TEXTS)
"""Fields that hold several texts."""


def column_of(field: str) -> str:
    """The name of a field's column.

    >>> column_of("tags")
    'asset_tags'
    """
    return f"asset_{field}"


def folder_keys(uris: Sequence[str]) -> list[str]:
    """The keys of all folders above these URIs, or only `MANY_FOLDERS`."""
    ends = ((uri, at + 1) for uri in uris for at, char in enumerate(uri) if char == "/")
    folders = dict.fromkeys(uri[:end] for uri, end in ends)
    return [*map(_digest, folders)] if len(folders) <= MAX_FOLDERS else [MANY_FOLDERS]


def folder_key(prefix: str) -> str | None:
    """The key of all paths that begin like this; None if there is no folder in it.

    >>> folder_key("/data/pho") == folder_key("/data/") != folder_key("/dat")
    True
    """
    folder = prefix[: prefix.rfind("/") + 1]
    return _digest(folder) if folder else None


def _digest(folder: str) -> str:
    return hashlib.sha256(folder.encode()).hexdigest()[:32]


def tag_key(tag: str) -> str:
    """The key of an element of a list."""
    return hashlib.sha256(tag.encode(errors="replace")).hexdigest()


def key_number(key: str) -> int:
    """A key as it is stored in an array."""
    return ANYWHERE if key == MANY_FOLDERS else int(key[:KEY_DIGITS], 16)


def values_of(row: AssetRow) -> dict[str, Any]:
    """The columns of an asset's segments."""
    fields: dict[str, Any] = {
        field: getattr(row, field) if field in COLUMNS else row.metadata.get(field)
        for field in FIELDS
    }
    values = {column_of(field): _plain(field, value) for field, value in fields.items()}
    values[column_of("path")] = _keys(folder_keys(row.locations))
    for field in LISTS:
        tags = fields[field] if isinstance(fields[field], list) else []
        keys = [tag_key(tag) for tag in tags if isinstance(tag, str)]
        values[column_of(field)] = _keys(keys)
    texts = [value for value in fields.values() if isinstance(value, str)]
    metadata = {key: value for key, value in row.metadata.items() if key not in FIELDS}
    is_long = len(json.dumps(metadata)) > MAX_METADATA_BYTES
    values[CUT_COLUMN] = is_long or any(_cut(text) != text for text in texts)
    values[METADATA_COLUMN] = {} if is_long else metadata
    return values


def _plain(field: str, value: Any) -> Any:
    field_kind = kind_of(field)
    if field in COLUMNS and field_kind is FieldKind.NUMBER:
        return value
    if field_kind in (FieldKind.NUMBER, FieldKind.TIME):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number else MISSING_NUMBER
    return _cut(str(value)) if isinstance(value, str) else ""


def _keys(keys: Iterable[str]) -> list[int]:
    numbers = [key_number(key) for key in dict.fromkeys(keys)]
    return numbers if len(numbers) <= MAX_KEYS else [ANYWHERE]


def _cut(text: str) -> str:
    return text.encode(errors="replace")[:MAX_TEXT_BYTES].decode(errors="ignore")
