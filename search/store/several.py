"""Segments that have several vectors, each in its own row. Pure.

Row 0 is stored like that of a segment with one vector. Row n has the key ``<segment_id>#n``; its
number is also in the high bits of ``index``, where filters see it, and it has its own partition.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import itemgetter

import numpy as np

from encoder.space import Calibration
from encoder.types import Embeddings
from search.types import ScoredSegment, SegmentRow

IDENTICAL = 1 - 1e-5
"""Embeddings of the same content differ by rounding, those of others by far more."""
MAX_ROWS = 1024
_ROW = 1 << 40
FIRST_ROWS = f"index < {_ROW}"
"""A filter for one row of each segment."""
_KEY_BYTES = 16
_OF_BYTES = re.compile(f"[0-9a-f]{{{2 * _KEY_BYTES}}}").fullmatch
_PREFIX = "ROW"  # in no name of a modality


def packed(index: int, row: int) -> int:
    """What is stored as ``index``."""
    return row * _ROW + index


def unpacked(index: int) -> tuple[int, int]:
    """The index of the segment, and the number of the row.

    >>> unpacked(packed(7, 2))
    (7, 2)
    """
    return index % _ROW, index // _ROW


def partition_of(modality: str, row: int) -> str:
    """The partition of the rows of this number.

    >>> partition_of("image", 0), partition_of("image", 1)
    ('image', 'ROW1_image')
    """
    return f"{_PREFIX}{row}_{modality}" if row else str(modality)


def is_of_first_rows(partition: str) -> bool:
    """Whether a partition is named after its modality alone."""
    return not partition.startswith(_PREFIX)


def stored_key(key: str) -> bytes | str:
    """Half as long, as it is kept in a table: the bytes of its hex digits, and the row's number.

    >>> key_of(stored_key("00ff" * 8)), stored_key("photo-1")
    ('00ff00ff00ff00ff00ff00ff00ff00ff', 'photo-1')
    """
    segment_id, _, row = key.partition("#")
    if not _OF_BYTES(segment_id):
        return key
    return bytes.fromhex(segment_id) + (int(row).to_bytes(2, "big") if row else b"")


def key_of(stored: bytes | str) -> str:
    """The key that `stored_key` shortened."""
    if isinstance(stored, str):
        return stored
    segment_id, row = stored[:_KEY_BYTES].hex(), stored[_KEY_BYTES:]
    return f"{segment_id}#{int.from_bytes(row)}" if row else segment_id


def shifted(by: Calibration, shift: float) -> Calibration:
    """Constants by which ``(cosine - shift * mu) / c`` is the calibrated score."""
    return replace(
        by,
        mu=shift * by.mu,
        further=tuple(shifted(row_constants, shift) for row_constants in by.further),
    )


def scores_of(rows: Iterable[ScoredSegment], by: Calibration) -> list[float]:
    """The calibrated scores of rows of one modality, without a call for each."""
    constants = [(of_row.mu, of_row.c) for of_row in by.rows]
    last = len(constants) - 1
    return [(row.cosine - mu) / c for row in rows for mu, c in (constants[min(row.row, last)],)]


def best_first(rows: Sequence[ScoredSegment], by: Calibration) -> list[ScoredSegment]:
    """The best row of each segment of one modality, best first, ties by id."""
    ranked = [(-s, row.key, row) for s, row in zip(scores_of(rows, by), rows, strict=True)]
    ranked.sort(key=itemgetter(0, 1))
    return one_of_each(row for _, _, row in ranked)


def mixed_best_first(
    of_modalities: Sequence[tuple[Sequence[ScoredSegment], Calibration]],
) -> list[ScoredSegment]:
    """The segments of several modalities as one list, best first, ties by id."""
    if len(of_modalities) == 1:
        return list(of_modalities[0][0])
    ranked = [
        (-score, segment.segment_id, segment)
        for segments, by in of_modalities
        for score, segment in zip(scores_of(segments, by), segments, strict=True)
    ]
    ranked.sort(key=itemgetter(0, 1))
    return [segment for _, _, segment in ranked]


def one_of_each(ranked: Iterable[ScoredSegment]) -> list[ScoredSegment]:
    """The first row of each segment, or the one that is identical to the query, in its place."""
    best_rows: dict[str, ScoredSegment] = {}
    for row in ranked:
        best_row = best_rows.setdefault(row.segment_id, row)
        if row.cosine >= IDENTICAL > best_row.cosine:
            best_rows[row.segment_id] = row
    return list(best_rows.values())


def by_segment(rows: Iterable[SegmentRow], embed_dim: int) -> Embeddings:
    """The embeddings of whole segments, [n, n_rows, embed_dim], in the order of their ids.

    A segment of which a row is missing is left out.
    """
    rows_of: dict[str, dict[int, Embeddings]] = {}
    for row in rows:
        rows_of.setdefault(row.segment_id, {})[row.row] = row.embedding
    n_rows = max(map(len, rows_of.values()), default=1)
    whole = [rows_of[key] for key in sorted(rows_of) if len(rows_of[key]) == n_rows]
    if not whole:
        return np.empty((0, 1, embed_dim), np.float32)
    return np.stack([np.stack([of[row] for row in sorted(of)]) for of in whole])
