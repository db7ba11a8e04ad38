"""The text of a file as it was read, passage by passage. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from encoder.types import TEXT
from search.types import SegmentRow


def passages_of(rows: Iterable[SegmentRow]) -> list[SegmentRow]:
    """The segments of an asset that are text, in the order of the file."""
    texts = [row for row in rows if row.modality == TEXT and row.snippet and not row.row]
    return sorted(texts, key=lambda row: row.index)


def window(passages: Sequence[SegmentRow], around: str, start: int, limit: int) -> tuple[int, int]:
    """Which ``limit`` passages to show: from ``start``, or with that of this id in their middle."""
    place = next((n for n, row in enumerate(passages) if around and row.segment_id == around), None)
    if place is not None:
        start = min(place - limit // 2, len(passages) - limit)
    start = max(start, 0)
    return start, min(start + limit, len(passages))


def passages_json(passages: Sequence[SegmentRow], start: int, end: int) -> list[dict[str, Any]]:
    """As `search.api.schemas.PassageOut`; what neighbours share is in the first of them."""
    before = [None, *passages[:-1]]
    return [
        {
            "segment_id": row.segment_id,
            "text": row.snippet[_shared(previous, row) :],
            "place": json.loads(row.place) if row.place else {},
        }
        for previous, row in zip(before[start:end], passages[start:end], strict=True)
    ]


def _shared(previous: SegmentRow | None, row: SegmentRow) -> int:
    """With how many characters a passage repeats the end of the one before."""
    if previous is None or previous.char_end is None or row.char_start is None:
        return 0
    n_shared = previous.char_end - row.char_start
    is_shared = 0 < n_shared < len(row.snippet)
    return n_shared if is_shared and previous.snippet.endswith(row.snippet[:n_shared]) else 0
