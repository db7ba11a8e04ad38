"""From a ranking of segments to hits: one for each asset, with its best further moments. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from search.fusion import Candidate


@dataclass
class Group:
    """A hit in the making: its best candidate, and further ones of the same asset."""

    best: Candidate
    moments: list[Candidate] = field(default_factory=list)


def by_asset(ranked: Iterable[Candidate], n_moments: int) -> list[Group]:
    """The candidates of each asset, in the order of its best one: of a film, its best moments.

    Args:
        ranked: best first.
        n_moments: how many candidates to keep beside the best.
    """
    groups: dict[str, Group] = {}
    for candidate in ranked:
        group = groups.setdefault(candidate.segment.asset_id, Group(candidate))
        if candidate is not group.best and len(group.moments) < n_moments:
            group.moments.append(candidate)
    return list(groups.values())
