"""What a search has found so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from encoder.types import Modality
from search.query.planner import Share
from search.ranking.fusion import Candidate
from search.ranking.grouping import Group
from search.types import ScoredSegment


@dataclass(frozen=True, eq=False)
class Pool:
    """The best hits of a share that are committed and pass the filter.

    ``shown`` holds those of earlier pages.
    """

    share: Share
    groups: list[Group]
    shown: list[Group]


@dataclass(frozen=True, eq=False)
class Seen:
    """The candidates found so far.

    Args:
        ranked: all candidates, best first.
        horizon: by modality, the score that no segment beyond the list exceeds; a modality that
            was seen completely has none.
    """

    ranked: list[Candidate]
    horizon: Mapping[Modality, float]


@dataclass(frozen=True, eq=False)
class FoundSegments:
    """Segments by modality, and bounds: the scores that segments beyond the lists do not exceed.

    A modality that was searched on its own has none: its list's length shows if it is complete.
    """

    segments: Mapping[Modality, Sequence[ScoredSegment]]
    bounds: Mapping[Modality, float] = field(default_factory=dict)


def lowest(scored: Sequence[Candidate]) -> float:
    """The highest score possible beyond a list; its last segment may be penalised, the next not."""
    return min(segment.dense_score for segment in scored if segment.dense_score is not None)
