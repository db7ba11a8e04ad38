"""Check rows and queries for any store, and cut texts to what it can keep. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from encoder.errors import InputError
from encoder.space import l2_normalize
from encoder.types import Embeddings
from search.filters.tree import MAX_NUMBER
from search.lexical import terms
from search.store.lanes import StoreLanes
from search.store.schema import (
    MAX_LOCATIONS,
    MAX_METADATA_BYTES,
    MAX_SNIPPET_BYTES,
    MAX_URI_BYTES,
    MAX_WORDS_BYTES,
)
from search.store.several import MAX_ROWS
from search.types import AssetRow, SegmentRow

_ROUNDING = 1e-6
"""How far rounding takes the square of a unit vector's length from 1, at most."""


def words_of(text: str) -> str:
    """The words of a text, as they are stored in ``words``."""
    return _cut(" ".join(terms(text)), MAX_WORDS_BYTES)


def checked_segments(rows: Sequence[SegmentRow], lanes: StoreLanes) -> list[SegmentRow]:
    """The rows as a store keeps them: of unit length, and texts that are too long are cut.

    A row that is so already is returned itself, with the caller's array.

    Raises:
        InputError: an embedding has a different size, or is not finite; or no such row can exist.
    """
    sizes = {modality: lanes.space(modality).embed_dim for modality in {r.modality for r in rows}}
    of_sizes: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        if "#" in row.segment_id or not 0 <= row.row < MAX_ROWS:
            got = f"{row.segment_id!r} with row {row.row}"
            raise InputError("segment_id", got=got, wanted=f"no '#', and row 0 to {MAX_ROWS - 1}")
        size, shape = sizes[row.modality], np.shape(row.embedding)
        if shape != (size,):
            name = f"embedding of {row.segment_id}"
            raise InputError(name, got=f"shape {shape}", wanted=f"shape ({size},)")
        of_sizes.setdefault(size, []).append(index)
    checked = list(rows)
    for indices in of_sizes.values():
        vectors = np.array([rows[index].embedding for index in indices], np.float32)
        if len(wrong := np.flatnonzero(~np.isfinite(vectors).all(axis=1))):
            name = f"embedding of {rows[indices[wrong[0]]].segment_id}"
            raise InputError(name, got="NaN or infinity", wanted="finite numbers")
        is_unit = np.abs(np.einsum("nd,nd->n", vectors, vectors) - 1) < _ROUNDING
        for index, unit, stays in zip(indices, l2_normalize(vectors), is_unit, strict=True):
            row = rows[index]
            text = _cut(row.snippet, MAX_SNIPPET_BYTES)
            is_float32 = getattr(row.embedding, "dtype", None) == np.float32
            if not (stays and is_float32 and text == row.snippet):
                checked[index] = replace(row, embedding=unit, snippet=text)
    return checked


def checked_asset(row: AssetRow) -> AssetRow:
    """The row as a store keeps it.

    Raises:
        InputError: it holds more than fits, or text that is not Unicode.
    """
    where = f"asset {row.asset_id}"
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", row.asset_id):
        # pymilvus pages through the keys without quoting them.
        raise InputError("asset_id", got=repr(row.asset_id), wanted="letters, digits, _ . -")
    if len(row.locations) > MAX_LOCATIONS:
        raise InputError(
            f"locations of {where}",
            got=f"{len(row.locations)} locations",
            wanted=f"{MAX_LOCATIONS} at most (one content in so many places)",
        )
    for uri in row.locations:
        _check_text(f"uri of {where}", uri, MAX_URI_BYTES)
    metadata = _checked_json(f"metadata of {where}", dict(row.metadata))
    _check_text(f"metadata of {where}", json.dumps(metadata), MAX_METADATA_BYTES)
    return replace(row, locations=list(row.locations), metadata=metadata)


def checked_queries(queries: Embeddings, embed_dim: int) -> Embeddings:
    """Query rows [n, embed_dim] as float32 of unit length, so that products are cosines."""
    rows = np.asarray(queries, np.float32)
    if rows.ndim != 2 or rows.shape[1] != embed_dim:
        raise InputError("queries", got=f"shape {rows.shape}", wanted=f"shape (n, {embed_dim})")
    if not np.isfinite(rows).all():
        raise InputError("queries", got="NaN or infinity", wanted="finite numbers")
    return l2_normalize(rows)


def _check_text(argument: str, text: str, max_bytes: int) -> None:
    try:
        n_bytes = len(text.encode())
    except UnicodeEncodeError:
        raise InputError(argument, got=repr(text), wanted="a name in valid UTF-8") from None
    if n_bytes > max_bytes:
        raise InputError(argument, got=f"{n_bytes} bytes", wanted=f"{max_bytes} bytes at most")


def _checked_json(argument: str, value: Any) -> Any:
    """The value as it returns from JSON: lists, dictionaries, and numbers that are exact there."""
    if isinstance(value, Mapping):
        return {str(key): _checked_json(argument, element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_checked_json(argument, element) for element in value]
    if isinstance(value, str):
        return _cut(value, MAX_METADATA_BYTES)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and math.isfinite(value):
        # Whole numbers beyond 2**53 are compared as doubles here and as integers there.
        return value if abs(value) <= MAX_NUMBER else float(value)
    raise InputError(argument, got=repr(value), wanted="what JSON can hold, finite numbers")


def _cut(text: str, max_bytes: int) -> str:
    return text.encode(errors="replace")[:max_bytes].decode(errors="ignore")
