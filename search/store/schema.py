"""What a store keeps: collections, fields, keys, and rows as plain dictionaries. Pure.

Collections of a store, named ``<prefix>_<kind>``:

- ``assets``: the commit rows, by asset id, with what they count in each space;
- ``locations``: an index from a URI to assets. It can have outdated entries (a URI that an
  asset has left): the commit row decides. Looking up an array field is not an alternative: neither
  Milvus Lite nor Milvus 2.3 indexes arrays.

Collections of a space, named ``<prefix>_<fingerprint>_<kind>``:

- ``segments``: one row per embedding, a unit vector, in one partition per modality and number of
  the row (see `search.store.several`), with the columns that filters use
  (`search.filters.columns`);
- ``words``: the words of texts, if Milvus itself supports BM25.

Milvus 2.3 has no nullable fields, so a missing number is stored as `MISSING`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from encoder.errors import InputError
from encoder.types import Modality
from search.filters.columns import (
    CUT_COLUMN,
    MAX_FOLDERS,
    MAX_KEYS,
    MAX_TEXT_BYTES,
    METADATA_COLUMN,
    column_of,
    folder_keys,
)
from search.filters.match import COLUMNS
from search.filters.tree import FIELDS, FieldKind
from search.store import calibrated
from search.store.lanes import Counts, StoredSpace, StoreLanes
from search.store.several import packed, partition_of, unpacked
from search.types import AssetRow, ScoredSegment, SegmentRow, modality_named, said_of

SCHEMA_VERSION = 9
"""A store of any other version is refused: Parquet files are the way from one to another."""
MISSING = -1
DELETION = "deletion"
"""In place of a URI's key; see `deletion_note`."""
MAX_LOCATIONS = 4096
MAX_METADATA_BYTES = 65_000
MAX_URI_BYTES = 8192
MAX_WORDS_BYTES = 65_535
MAX_SNIPPET_BYTES = 4096
MAX_BOXES_BYTES = 32_768
MAX_PLACE_BYTES = 1_024
KEY_BYTES = 128
_LANGUAGE_BYTES = 16
_INDEXED = ("modality", "size_bytes", "modified", "taken", "language")
"""Fields that are asked for by value or range; arrays have no index before Milvus 2.5."""

_SPACE = "[0-9a-f]{8,64}"
_DUMMY_VECTOR = [1.0, 0.0]  # Milvus requires a vector in every collection
SCHEMA, SPACE, EMBED_DIM, CALIBRATION, PROBES = [
    f"anymodal.{name}" for name in ("schema", "space", "embed_dim", "calibration", "probes")
]
"""What is stored with collections, for programs that open them and for people."""


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
    by BM25, ``bm25_of`` is the field with the words. ``space`` is that of its rows, if they are of
    one.
    """

    kind: str
    fields: Sequence[Field]
    vector: str
    indexed: Sequence[str]
    unread: Sequence[str] = ()
    bm25_of: str = ""
    space: str | None = None

    @property
    def key(self) -> str:
        return self.fields[0].name

    @property
    def scalars(self) -> list[str]:
        """What a query asks for: all fields except the vector and those that are unread."""
        return [f.name for f in self.fields if f.name not in (self.vector, *self.unread)]

    @property
    def with_vector(self) -> list[str]:
        return [*self.scalars, self.vector]

    @property
    def whole(self) -> list[str]:
        """All fields, for writing a row again."""
        return [f.name for f in self.fields]


def text_field(name: str, n_bytes: int) -> Field:
    return Field(name, "VARCHAR", {"max_length": n_bytes})


ASSETS = Collection(
    "assets",
    [
        text_field("asset_id", KEY_BYTES),
        text_field("modality", KEY_BYTES),
        text_field("media_type", 256),
        Field("size_bytes", "INT64"),
        Field("counts", "JSON"),
        Field(
            "locations",
            "ARRAY",
            {
                "element_type": "VARCHAR",
                "max_capacity": MAX_LOCATIONS,
                "max_length": MAX_URI_BYTES,
            },
        ),
        Field(
            "folders",
            "ARRAY",
            {"element_type": "VARCHAR", "max_capacity": MAX_FOLDERS, "max_length": KEY_BYTES},
        ),
        Field("metadata", "JSON"),
        Field("dummy", "FLOAT_VECTOR", {"dim": len(_DUMMY_VECTOR)}),
    ],
    "dummy",
    [],
    unread=["folders"],
)

LOCATIONS = Collection(
    "locations",
    [
        text_field("location_id", KEY_BYTES),
        text_field("uri_key", KEY_BYTES),
        text_field("asset_id", KEY_BYTES),
        Field("dummy", "FLOAT_VECTOR", {"dim": len(_DUMMY_VECTOR)}),
    ],
    "dummy",
    ["uri_key", "asset_id"],
)

_WORDS = Collection(
    "words",
    [
        text_field("segment_id", KEY_BYTES),
        text_field("asset_id", KEY_BYTES),
        text_field("words", MAX_WORDS_BYTES),
        Field("bm25", "SPARSE_FLOAT_VECTOR"),
    ],
    "bm25",
    ["asset_id"],
    unread=["words"],
    bm25_of="words",
)


def words_collection(space: str) -> Collection:
    """The words of a space's texts."""
    return replace(_WORDS, space=space)


_SAID = [
    Field("start_s", "DOUBLE"),
    Field("end_s", "DOUBLE"),
    Field("char_start", "INT64"),
    Field("char_end", "INT64"),
    text_field("snippet", MAX_SNIPPET_BYTES),
    Field("confidence", "DOUBLE"),
    text_field("language", _LANGUAGE_BYTES),
    text_field("boxes", MAX_BOXES_BYTES),
    text_field("place", MAX_PLACE_BYTES),
]
"""What a segment says of itself, as `search.types.SAID` names it."""
_AS_STORED: Mapping[str, Callable[[Any], Any]] = {"DOUBLE": float, "INT64": int, "VARCHAR": str}


@lru_cache(64)
def segments_collection(space: str, embed_dim: int = 0) -> Collection:
    """The segments of a space, with columns for filters; who creates it knows its size."""
    columns = [
        *(_filter_column(field, field_kind) for field, field_kind in FIELDS.items()),
        Field(CUT_COLUMN, "BOOL"),
        Field(METADATA_COLUMN, "JSON"),
    ]
    fields = [
        text_field("segment_id", KEY_BYTES),
        text_field("asset_id", KEY_BYTES),
        text_field("modality", KEY_BYTES),
        Field("index", "INT64"),
        *_SAID,
        *columns,
        Field("embedding", "FLOAT_VECTOR", {"dim": embed_dim}),
    ]
    indexed = ["asset_id", *map(column_of, _INDEXED)]
    unread = [column.name for column in columns]
    return Collection("segments", fields, "embedding", indexed, unread, space=space)


def _filter_column(field: str, field_kind: FieldKind) -> Field:
    name = column_of(field)
    if field_kind in (FieldKind.PATHS, FieldKind.TEXTS):
        return Field(name, "ARRAY", {"element_type": "INT64", "max_capacity": MAX_KEYS})
    if field_kind in (FieldKind.NUMBER, FieldKind.TIME):
        return Field(name, "INT64" if field in COLUMNS else "DOUBLE")
    return text_field(name, MAX_TEXT_BYTES)


def collection_name(prefix: str, collection: Collection) -> str:
    """The name of a collection.

    >>> collection_name("anymodal", ASSETS)
    'anymodal_assets'
    >>> collection_name("anymodal", segments_collection("0123456789abcdef"))
    'anymodal_0123456789abcdef_segments'
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", prefix):
        raise InputError("prefix", got=repr(prefix), wanted="a-z, 0-9, _; 64 at most")
    if (space := collection.space) is None:
        return f"{prefix}_{collection.kind}"
    if not re.fullmatch(_SPACE, space):
        raise InputError("space_fingerprint", got=repr(space), wanted="8 to 64 hex digits")
    return f"{prefix}_{space}_{collection.kind}"


def stored_collections(names: Sequence[str], prefix: str) -> dict[str, Collection]:
    """Those of these collections that hold rows of the store with this prefix, by their names."""
    kinds = {each.kind: each for each in (ASSETS, LOCATIONS, segments_collection(""), _WORDS)}
    pattern = re.compile(rf"{prefix}_(?:({_SPACE})_)?({'|'.join(kinds)})")
    matches = [match for name in sorted(names) if (match := pattern.fullmatch(name))]
    return {match[0]: replace(kinds[match[2]], space=match[1]) for match in matches}


def properties(space: StoredSpace) -> dict[str, str]:
    """What is stored with the collections of a space."""
    return {
        **SCHEMA_PROPERTY,
        SPACE: space.fingerprint,
        EMBED_DIM: str(space.embed_dim),
        CALIBRATION: calibrated.written(calibrated.unmeasured(space.calibration)),
        PROBES: json.dumps(space.probes),
    }


SCHEMA_PROPERTY = {SCHEMA: str(SCHEMA_VERSION)}


def segment_id(asset_id: str, modality: str, index: int, fingerprint: str) -> str:
    """The key of a segment: the same content in the same space has the same one."""
    return _digest(asset_id, modality, str(index), fingerprint)


def uri_key(uri: str) -> str:
    return _digest(uri)


def _digest(*parts: str) -> str:
    """32 hex digits over the parts; JSON keeps the parts separate."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def segment_to_dict(row: SegmentRow, columns: Mapping[str, Any]) -> dict[str, Any]:
    """A checked segment as a row of Milvus, with the columns that filters use."""
    optional = {
        field.name: _AS_STORED[field.type](MISSING if value is None else value)
        for field, value in zip(_SAID, said_of(row), strict=False)
    }
    return {
        "segment_id": row.key,
        "asset_id": row.asset_id,
        "modality": str(row.modality),
        "index": packed(row.index, row.row),
        **optional,
        **columns,
        "embedding": row.embedding,
    }


def segment_from_dict(row: Mapping[str, Any]) -> SegmentRow:
    """A row of a segment that a query found, with its embedding."""
    index, _ = unpacked(row["index"])
    embedding = np.asarray(row["embedding"], np.float32)
    asset_id, modality = row["asset_id"], modality_of(row)
    return SegmentRow(segment_id_of(row), asset_id, modality, index, embedding, *_said(row))


def modality_of(row: Mapping[str, Any]) -> Modality:
    return modality_named(row["modality"])


def row_of(row: Mapping[str, Any]) -> int:
    """Which of its segment's embeddings a row holds."""
    return unpacked(row["index"])[1]


def segment_id_of(row: Mapping[str, Any]) -> str:
    segment_id: str = row["segment_id"]
    return segment_id.partition("#")[0]


def partition_of_row(row: Mapping[str, Any]) -> str:
    return partition_of(row["modality"], row_of(row))


def scored_from_dict(row: Mapping[str, Any], cosine: float) -> ScoredSegment:
    asset_id, modality = row["asset_id"], modality_of(row)
    return ScoredSegment(segment_id_of(row), asset_id, modality, cosine, *_said(row))


def _said(row: Mapping[str, Any]) -> list[Any]:
    """What a segment says of itself, and the number of its row."""
    values = (row[field.name] for field in _SAID)
    return [*(None if value == MISSING else value for value in values), row_of(row)]


def asset_to_dict(row: AssetRow, counts: Counts) -> dict[str, Any]:
    """A checked commit row as a row of Milvus, which counts segments of all lanes."""
    by_space: dict[str, dict[str, int]] = {}
    for (space, modality), n in counts.items():
        by_space.setdefault(space, {})[str(modality)] = n
    return {
        "asset_id": row.asset_id,
        "modality": str(row.modality),
        "media_type": row.media_type,
        "size_bytes": row.size_bytes,
        "counts": by_space,
        "locations": list(row.locations),
        "folders": folder_keys(row.locations),
        "metadata": dict(row.metadata),
        "dummy": _DUMMY_VECTOR,
    }


def asset_from_dict(row: Mapping[str, Any], lanes: StoreLanes) -> AssetRow:
    return AssetRow(
        asset_id=row["asset_id"],
        modality=modality_of(row),
        media_type=row["media_type"],
        size_bytes=row["size_bytes"],
        counts=lanes.counts(counts_of(row)),
        locations=list(row["locations"]),
        metadata=_read_json(row["metadata"]),
    )


def counts_of(row: Mapping[str, Any]) -> Counts:
    """What a commit row counts in all lanes."""
    return {
        (space, modality_named(modality)): n
        for space, counts in _read_json(row["counts"]).items()
        for modality, n in counts.items()
    }


def _read_json(value: Any) -> dict[str, Any]:
    return json.loads(value) if isinstance(value, str | bytes) else dict(value)


def locations_to_dicts(row: AssetRow) -> list[dict[str, Any]]:
    """The rows by which an asset is found at its URIs."""
    return [
        {
            "location_id": _digest(uri, row.asset_id),
            "uri_key": uri_key(uri),
            "asset_id": row.asset_id,
            "dummy": _DUMMY_VECTOR,
        }
        for uri in dict.fromkeys(row.locations)
    ]


def deletion_note(asset_id: str) -> dict[str, Any]:
    """A row among the places, by no URI, that says that an asset is being deleted."""
    note = {"location_id": _digest(DELETION, asset_id), "uri_key": DELETION}
    return {**note, "asset_id": asset_id, "dummy": _DUMMY_VECTOR}
