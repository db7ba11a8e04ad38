"""Collections and their fields, and those of segments: see `search.store.schema`. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search.filters.columns import (
    CUT_COLUMN,
    KEY_DIGITS,
    MAX_KEYS,
    MAX_TEXT_BYTES,
    METADATA_COLUMN,
    column_of,
)
from search.filters.match import COLUMNS
from search.filters.tree import FIELDS, FieldKind

MAX_SNIPPET_BYTES = 4096
MAX_BOXES_BYTES = 32_768
MAX_PLACE_BYTES = 1_024
KEY_BYTES = 128
NUMBERS = ("start_s", "end_s", "char_start", "char_end")
TEXTS = ("snippet", "confidence", "language", "boxes", "place")
"""What a segment says of itself: numbers that may be missing, and what is always there."""
_LANGUAGE_BYTES = 16
_INDEXED = ("modality", "size_bytes", "modified", "taken", "language")
"""Fields that are asked for by value or range; arrays have no index before Milvus 2.5."""


@dataclass(frozen=True)
class Field:
    """A field: its name, the name of its Milvus type, and the type's parameters."""

    name: str
    type: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Collection:
    """A kind of collection: its fields (the first is the key), and those that are indexed.

    Fields that are ``unread`` are there for expressions only. If the vector is made by the store,
    by BM25, ``bm25_of`` is the field with the words.
    """

    kind: str
    fields: Sequence[Field]
    vector: str
    indexed: Sequence[str]
    unread: Sequence[str] = ()
    bm25_of: str = ""

    @property
    def key(self) -> str:
        """The primary key's name."""
        return self.fields[0].name

    @property
    def scalars(self) -> list[str]:
        """What a query asks for: all fields except the vector and those that are unread."""
        return [f.name for f in self.fields if f.name not in (self.vector, *self.unread)]

    @property
    def whole(self) -> list[str]:
        """All fields, for writing a row again."""
        return [f.name for f in self.fields]


def text_field(name: str, n_bytes: int) -> Field:
    """A text of at most this many bytes."""
    return Field(name, "VARCHAR", {"max_length": n_bytes})


def segments_collection(embed_dim: int, *, arrays: bool = True) -> Collection:
    """Segments with embeddings of this size, stored as `search.store.calibrated` says.

    Args:
        embed_dim: the number of dimensions.
        arrays: see `search.filters.columns.values_of`.
    """
    columns = _filter_columns(arrays)
    indexed = ["asset_id", *map(column_of, _INDEXED)]
    fields = _segment_fields(embed_dim, columns)
    return Collection("segments7", fields, "embedding", indexed, [f.name for f in columns])


def old_segments_collection(embed_dim: int) -> Collection:
    """Segments as in schema 6."""
    return Collection("segments", _segment_fields(embed_dim, []), "embedding", ["asset_id"])


def _segment_fields(embed_dim: int, columns: Sequence[Field]) -> list[Field]:
    return [
        text_field("segment_id", KEY_BYTES),
        text_field("asset_id", KEY_BYTES),
        text_field("modality", KEY_BYTES),
        Field("index", "INT64"),
        Field("start_s", "DOUBLE"),
        Field("end_s", "DOUBLE"),
        Field("char_start", "INT64"),
        Field("char_end", "INT64"),
        text_field("snippet", MAX_SNIPPET_BYTES),
        Field("confidence", "DOUBLE"),
        text_field("language", _LANGUAGE_BYTES),
        text_field("boxes", MAX_BOXES_BYTES),
        text_field("place", MAX_PLACE_BYTES),
        Field("calibration", "INT64"),
        *columns,
        Field("embedding", "FLOAT_VECTOR", {"dim": embed_dim + 1}),
    ]


def _filter_columns(arrays: bool) -> list[Field]:
    columns = [_filter_column(field, field_kind, arrays) for field, field_kind in FIELDS.items()]
    columns.append(Field(CUT_COLUMN, "BOOL"))
    return [*columns, Field(METADATA_COLUMN, "JSON")] if arrays else columns


def _filter_column(field: str, field_kind: FieldKind, arrays: bool) -> Field:
    name = column_of(field)
    if field_kind in (FieldKind.PATHS, FieldKind.TEXTS):
        if arrays:
            return Field(name, "ARRAY", {"element_type": "INT64", "max_capacity": MAX_KEYS})
        return text_field(name, MAX_KEYS * (KEY_DIGITS + 1))
    if field_kind in (FieldKind.NUMBER, FieldKind.TIME):
        return Field(name, "INT64" if field in COLUMNS else "DOUBLE")
    return text_field(name, MAX_TEXT_BYTES)


def whole_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row that was read, in the form in which it is written again."""
    metadata = row.get(METADATA_COLUMN)
    if isinstance(metadata, str | bytes):
        return {**row, METADATA_COLUMN: json.loads(metadata)}
    return dict(row)
