"""From a group and its commit row to a hit, as people see it. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.ranking.fusion import RankedSegment
from search.ranking.grouping import Group
from search.ranking.regions import regions
from search.ranking.snippets import snippet
from search.types import AssetRow, Hit, Moment


def hit_of(group: Group, asset: AssetRow, uri: str, words: Sequence[str]) -> Hit:
    """A hit without its explanation and its stack.

    Args:
        group: its best segment, and the moments.
        asset: the commit row.
        uri: which of its locations is shown.
        words: the texts searched for, to be marked in the snippets.
    """
    duration = asset.metadata.get("duration_s")
    return Hit(
        **_of_segment(group.best, words),
        asset_id=asset.asset_id,
        uri=uri,
        probability=group.probability,
        weak=group.weak,
        rerank_score=group.reranked,
        title=str(asset.metadata.get("title", "")),
        media_type=asset.media_type,
        duration_s=float(duration) if isinstance(duration, int | float) else None,
        metadata=asset.shown_metadata,
        moments=[Moment(**_of_segment(candidate, words)) for candidate in group.moments],
    )


def _of_segment(candidate: RankedSegment, words: Sequence[str]) -> dict[str, Any]:
    """What a hit and a moment say of their segment."""
    segment = candidate.segment
    excerpt = snippet(segment.snippet, words)
    boxes = json.loads(segment.boxes) if segment.boxes else ()
    return {
        "segment_id": segment.segment_id,
        "modality": segment.modality,
        "score": candidate.score,
        "start_s": segment.start_s,
        "end_s": segment.end_s,
        "char_start": segment.char_start,
        "char_end": segment.char_end,
        "snippet": excerpt.text,
        "confidence": segment.confidence,
        "language": segment.language,
        "boxes": boxes,
        "regions": regions(segment.snippet, boxes, words),
        "place": json.loads(segment.place) if segment.place else {},
        "matches": excerpt.matches,
    }


_MOST_STATS = 32
_NOWHERE = -2.0
_ELSEWHERE = -1.0


def shown_location(locations: Sequence[str]) -> str:
    """The location whose file was changed last, of those that exist; empty if there is none.

    If none exists on this machine, as when workers have different disks, it is the first one. A
    single location is not checked: the disk is read only if there is a choice, and then for at
    most the 32 locations that were seen last.
    """
    if len(locations) < 2:
        return next(iter(locations), "")
    changed_s = {uri: _changed_s(uri) for uri in locations[-_MOST_STATS:]}
    newest = max(changed_s, key=lambda uri: changed_s[uri])
    return locations[0] if changed_s[newest] == _NOWHERE else newest


def _changed_s(uri: str) -> float:
    """Seconds since 1970; a URI that is not a path comes after all files that exist."""
    path = Path(uri)
    if not path.is_absolute():
        return _ELSEWHERE
    try:
        return max(path.stat().st_mtime, 0.0)
    except (OSError, ValueError):
        return _NOWHERE
