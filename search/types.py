"""What goes into a search, what comes out, and the rows of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.types import Item, Modality


@dataclass(frozen=True)
class Query:
    """A search by one or more items, which are fused into one query embedding.

    Args:
        items: what to search with; at least one.
        modalities: the kinds of segment wanted; empty for all.
        limit: the most hits to return, 1 to 1,000.
    """

    items: Sequence[Item]
    modalities: Sequence[Modality] = ()
    limit: int = 10


@dataclass(frozen=True)
class Hit:
    """A segment found. ``score`` is calibrated: comparable across modalities, best first."""

    asset_id: str
    segment_id: str
    uri: str
    modality: Modality
    score: float
    start_s: float | None = None
    end_s: float | None = None
    char_start: int | None = None
    char_end: int | None = None
    snippet: str = ""


@dataclass(frozen=True)
class SearchResult:
    """Hits, best first, and the seconds of each stage with their ``total``."""

    hits: Sequence[Hit]
    latency_s: Mapping[str, float]


def as_json(result: SearchResult) -> dict[str, Any]:
    """The result as plain lists, dictionaries, strings and numbers, for `json.dumps`."""
    return {
        "hits": [{**asdict(hit), "modality": str(hit.modality)} for hit in result.hits],
        "latency_s": dict(result.latency_s),
    }


@dataclass(frozen=True)
class AssetRow:
    """The commit row of an asset: it is ingested once this is stored.

    ``locations`` are all the URIs at which the content was seen.
    """

    asset_id: str
    modality: Modality
    media_type: str
    size_bytes: int
    n_segments: int
    locations: Sequence[str]
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SegmentRow:
    """A segment with its embedding, float32 [embed_dim]."""

    segment_id: str
    asset_id: str
    modality: Modality
    index: int
    embedding: NDArray[np.float32]
    start_s: float | None = None
    end_s: float | None = None
    char_start: int | None = None
    char_end: int | None = None
    snippet: str = ""


@dataclass(frozen=True)
class ScoredSegment:
    """A row that a store found, without its embedding, and its raw cosine to the query."""

    segment_id: str
    asset_id: str
    modality: Modality
    cosine: float
    start_s: float | None = None
    end_s: float | None = None
    char_start: int | None = None
    char_end: int | None = None
    snippet: str = ""
