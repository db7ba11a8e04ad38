"""Rows of the tables, from and to those of the store. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from encoder.types import Embeddings, Modality
from search.filters.sql import values_of
from search.store.embedded.tables import SLOT_BITS
from search.store.several import packed, unpacked
from search.types import AssetRow, ScoredSegment, SegmentRow

modality_of = lru_cache(64)(Modality)
"""Cached: each modality is checked once."""


def place_of(part: int, slot: int) -> int:
    """The place of a segment's row.

    >>> slot_of(place_of(3, 7))
    7
    """
    return (part << SLOT_BITS) + slot


def slot_of(at: int) -> int:
    """The slot of a place, in the files of its part."""
    return at & ((1 << SLOT_BITS) - 1)


def part_of(at: int) -> int:
    """The part of a place."""
    return at >> SLOT_BITS


def asset_values(row: AssetRow) -> list[Any]:
    """The commit row as JSON, and what filters compare."""
    kept = [
        row.modality, row.media_type, row.size_bytes, row.n_segments, list(row.locations),
        row.metadata,
    ]  # fmt: skip
    return [json.dumps(kept), *values_of(row)]


def asset_of(asset_id: str, kept: str) -> AssetRow:
    """The commit row from its JSON."""
    modality, *rest = json.loads(kept)
    return AssetRow(asset_id, modality_of(modality), *rest)


def segment_values(row: SegmentRow, no: int) -> tuple[Any, ...]:
    """The columns of a segment."""
    return (
        row.key, no, packed(row.index, row.row), row.start_s, row.end_s, row.char_start,
        row.char_end, row.snippet, row.confidence, row.language, row.boxes, row.place,
    )  # fmt: skip


def scored(found: Sequence[Any], asset_id: str, modality: Modality, cosine: float) -> ScoredSegment:
    """A segment that a search found, from its columns."""
    key, _no, idx, *rest = found
    start_s, end_s, char_start, char_end, snippet, confidence, language, boxes, place = rest
    return ScoredSegment(
        key.partition("#")[0], asset_id, modality, cosine, start_s, end_s, char_start, char_end,
        snippet, confidence, language, boxes, place, unpacked(idx)[1],
    )  # fmt: skip


def segment_of(
    found: Sequence[Any], asset_id: str, modality: Modality, embedding: Embeddings
) -> SegmentRow:
    """A segment as it was written, from its columns and its vector."""
    key, _no, idx, *rest = found
    index, number = unpacked(idx)
    start_s, end_s, char_start, char_end, snippet, confidence, language, boxes, place = rest
    return SegmentRow(
        key.partition("#")[0], asset_id, modality, index, embedding, start_s, end_s, char_start,
        char_end, snippet, confidence, language, boxes, place, number,
    )  # fmt: skip
