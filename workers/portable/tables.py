"""Rows of a store as tables of Arrow. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa

from encoder.types import Modality
from search.types import AssetRow, SegmentRow

_ASSETS = pa.schema(
    {
        "asset_id": pa.string(),
        "modality": pa.string(),
        "media_type": pa.string(),
        "size_bytes": pa.int64(),
        "n_segments": pa.int64(),
        "locations": pa.list_(pa.string()),
        "metadata": pa.string(),  # JSON
    }
)
_TYPES = {
    "index": pa.int64(),
    "start_s": pa.float64(),
    "end_s": pa.float64(),
    "char_start": pa.int64(),
    "char_end": pa.int64(),
    "confidence": pa.float64(),
    "row": pa.int64(),
}
_FIELDS = [field.name for field in fields(SegmentRow) if field.name != "embedding"]


def asset_table(rows: Sequence[AssetRow]) -> pa.Table:
    """Commit rows; metadata is JSON."""
    columns: dict[str, list[Any]] = {
        name: [getattr(row, name) for row in rows] for name in _ASSETS.names
    }
    columns["modality"] = [str(row.modality) for row in rows]
    columns["locations"] = [list(row.locations) for row in rows]
    columns["metadata"] = [json.dumps(row.metadata, ensure_ascii=False) for row in rows]
    return pa.table(columns, _ASSETS)


def asset_rows(table: pa.Table) -> list[AssetRow]:
    """The rows of `asset_table`."""
    return [
        AssetRow(
            **{
                **row,
                "modality": Modality(row["modality"]),
                "metadata": json.loads(row["metadata"]),
            }
        )
        for row in table.to_pylist()
    ]


def segment_table(rows: Sequence[SegmentRow], embed_dim: int) -> pa.Table:
    """Segments, each row with its unit vector ``embedding``, float32 [embed_dim]."""
    columns: dict[str, Any] = {
        name: pa.array([getattr(row, name) for row in rows], _TYPES[name])
        if name in _TYPES
        else pa.array([str(getattr(row, name)) for row in rows], pa.string())
        for name in _FIELDS
    }
    flat = np.concatenate([row.embedding for row in rows]) if rows else np.zeros(0, np.float32)
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(
        pa.array(flat.astype(np.float32, copy=False)), embed_dim
    )
    return pa.table(columns)


def segment_rows(table: pa.Table) -> list[SegmentRow]:
    """The rows of `segment_table`."""
    vectors = table.column("embedding").combine_chunks()
    flat = np.asarray(vectors.flatten(), np.float32).reshape(table.num_rows, -1)
    plain = table.drop_columns(["embedding"]).to_pylist()
    return [
        SegmentRow(**{**row, "modality": Modality(row["modality"]), "embedding": vector})
        for row, vector in zip(plain, flat, strict=True)
    ]
