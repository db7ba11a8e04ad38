"""Rows of the tables, from and to those of the store. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

from encoder.types import Embeddings, Modality
from search.filters.sqlite import values_of
from search.store.embedded.tables import SLOT_BITS
from search.store.segments import NUMBERS, TEXTS
from search.store.several import packed, unpacked
from search.types import AssetRow, ScoredSegment, SegmentRow

modality_of = lru_cache(64)(Modality)
"""Cached: each modality is checked once."""


def place_of(part_no: int, slot: int) -> int:
    """The place of a segment's row.

    >>> slot_of(place_of(3, 7))
    7
    """
    return (part_no << SLOT_BITS) + slot


def slot_of(at: int) -> int:
    """The slot of a place, in the files of its part."""
    return at & ((1 << SLOT_BITS) - 1)


def part_of(at: int) -> int:
    """The part of a place."""
    return at >> SLOT_BITS


def asset_values(row: AssetRow) -> list[Any]:
    """The commit row as JSON, and what filters compare."""
    fields = [
        row.modality, row.media_type, row.size_bytes, row.n_segments, list(row.locations),
        row.metadata,
    ]  # fmt: skip
    return [json.dumps(fields), *values_of(row)]


def asset_of(asset_id: str, fields: str) -> AssetRow:
    """The commit row from its JSON."""
    modality, *values = json.loads(fields)
    return AssetRow(asset_id, modality_of(modality), *values)


def segment_values(row: SegmentRow, no: int) -> tuple[Any, ...]:
    """The columns of a segment."""
    return row.key, no, packed(row.index, row.row), *_said(row)


_said = attrgetter(*NUMBERS, *TEXTS)


def scored(
    columns: Sequence[Any], asset_id: str, modality: Modality, cosine: float
) -> ScoredSegment:
    """A segment that a search found, from its columns."""
    key, _no, index, *said = columns
    said.append(unpacked(index)[1])
    return ScoredSegment(key.partition("#")[0], asset_id, modality, cosine, *said)


def segment_of(
    columns: Sequence[Any], asset_id: str, modality: Modality, embedding: Embeddings
) -> SegmentRow:
    """A segment as it was written, from its columns and its vector."""
    key, _no, packed_index, *said = columns
    index, number = unpacked(packed_index)
    said.append(number)
    return SegmentRow(key.partition("#")[0], asset_id, modality, index, embedding, *said)
