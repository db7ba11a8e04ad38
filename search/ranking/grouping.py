"""From a ranking of segments to hits in the making. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from encoder.types import Modality
from search.ranking.fusion import Candidate
from search.types import ScoredSegment


@dataclass
class Group:
    """A hit in the making: its best candidate, and further ones of the same asset.

    ``weak`` says that its score is one that chance reaches: see `encoder.space.Floor`. ``rank`` is
    that of its best candidate, from 1, among all that can be the best one of a group.
    """

    key: str
    best: Candidate
    moments: list[Candidate] = field(default_factory=list)
    weak: bool = False
    rank: int = 0

    @property
    def asset_id(self) -> str:
        """The asset of all its candidates."""
        return self.best.segment.asset_id


def by_asset(
    ranked: Sequence[Candidate], modalities: Collection[Modality], n_moments: int
) -> list[Group]:
    """One group for each asset, in the order of the best candidates: of a film, its best moments.

    Args:
        ranked: best first.
        modalities: the kinds of segment that can be the best one; moments are of any kind.
        n_moments: how many candidates to keep besides the best.
    """
    groups: dict[str, Group] = {}
    for rank, candidate in enumerate(_of_kinds(ranked, modalities), 1):
        asset_id = candidate.segment.asset_id
        if asset_id not in groups:
            groups[asset_id] = Group(asset_id, candidate, rank=rank)
    for candidate in ranked if n_moments else ():
        group = groups.get(candidate.segment.asset_id)
        if group and candidate is not group.best and len(group.moments) < n_moments:
            group.moments.append(candidate)
    return list(groups.values())


def by_segment(ranked: Iterable[Candidate], modalities: Collection[Modality]) -> list[Group]:
    """Each segment of these kinds on its own, in their order."""
    return [
        Group(candidate.segment.segment_id, candidate, rank=rank)
        for rank, candidate in enumerate(_of_kinds(ranked, modalities), 1)
    ]


def _of_kinds(ranked: Iterable[Candidate], modalities: Collection[Modality]) -> Iterator[Candidate]:
    return (candidate for candidate in ranked if candidate.segment.modality in modalities)


def first_of_each(
    ranked: Iterable[ScoredSegment], n_each: int, n_assets: int
) -> list[ScoredSegment]:
    """The first ``n_each`` segments of each of the first ``n_assets`` assets, in their order."""
    kept = Counter[str]()
    best = []
    for segment in ranked:
        is_wanted = segment.asset_id in kept or len(kept) < n_assets
        if is_wanted and kept[segment.asset_id] < n_each:
            kept[segment.asset_id] += 1
            best.append(segment)
    return best
