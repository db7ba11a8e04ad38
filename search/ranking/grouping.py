"""From a ranking of segments to hits in the making. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from encoder.media.look import likeness
from encoder.types import IMAGE, Embeddings, Modality
from search.ranking.fusion import RankedSegment
from search.types import LOOK, AssetRow, ScoredSegment

_LIKENESS = 0.85
"""Of shots of one photo; see `encoder.media.look`."""
_LIKENESS_SOON = 0.75
"""Of those that were taken within `_SOON_S` and show no text; a longer time tells photos apart.

Pages and screens look alike from afar: those without a time are never the same."""
_SOON_S = 60.0


@dataclass
class Group:
    """A hit in the making: its best candidate, and further ones of the same asset.

    ``probability`` and ``weak`` are those of `search.ranking.verdict`, which weighs ``value``.
    ``rank`` is that of its best candidate, from 1, among all that can be the best one of a group.
    ``stack`` holds further shots of the same photo, best first. ``reranked`` is the score of a
    reranker.
    """

    key: str
    best: RankedSegment
    moments: list[RankedSegment] = field(default_factory=list)
    value: float | None = None
    probability: float | None = None
    weak: bool = False
    reranked: float | None = None
    rank: int = 0
    stack: list[Group] = field(default_factory=list)

    @property
    def shots(self) -> list[Group]:
        """The group, and those that it stands for."""
        return [self, *self.stack]

    def without(self, is_left_out: Callable[[str], bool]) -> Group | None:
        """The same without shots of such keys, for which the best other one stands; None if none
        is left."""
        shots = [shot for shot in self.shots if not is_left_out(shot.key)]
        return replace(shots[0], stack=shots[1:]) if shots else None

    @property
    def asset_id(self) -> str:
        """The asset of all its candidates."""
        return self.best.segment.asset_id


def by_asset(
    ranked: Sequence[RankedSegment], modalities: Collection[Modality], n_moments: int
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


def by_segment(ranked: Iterable[RankedSegment], modalities: Collection[Modality]) -> list[Group]:
    """Each segment of these kinds on its own, in their order."""
    return [
        Group(candidate.segment.segment_id, candidate, rank=rank)
        for rank, candidate in enumerate(_of_kinds(ranked, modalities), 1)
    ]


def _of_kinds(
    ranked: Iterable[RankedSegment], modalities: Collection[Modality]
) -> Iterator[RankedSegment]:
    return (candidate for candidate in ranked if candidate.segment.modality in modalities)


def same_photos(assets: Sequence[AssetRow]) -> NDArray[np.bool_]:
    """Which of these are shots of the same photo, by their looks and times; [n, n]."""
    same = np.zeros((len(assets), len(assets)), bool)
    indices = [index for index, asset in enumerate(assets) if asset.modality == IMAGE]
    photos = [assets[index] for index in indices]
    alike = likeness([photo.metadata.get(LOOK) for photo in photos])
    np.fill_diagonal(alike, 0.0)
    if (alike >= _LIKENESS_SOON).any():
        times = (photo.metadata.get("taken") for photo in photos)
        taken_s = np.array([t if isinstance(t, int | float) else np.nan for t in times], float)
        has_text = np.array([photo.n_segments > 1 for photo in photos])
        is_soon = np.abs(taken_s[:, None] - taken_s) <= _SOON_S
        is_undated = np.isnan(taken_s[:, None] - taken_s)
        with_text = has_text[:, None] | has_text
        is_close = alike >= np.where(is_soon & ~with_text, _LIKENESS_SOON, _LIKENESS)
        same[np.ix_(indices, indices)] = is_close & (is_soon | (is_undated & ~with_text))
    return same


def stacked(groups: Sequence[Group], is_same: NDArray[np.bool_]) -> list[Group]:
    """One group for all shots of a photo: the best of them, with the others as its stack.

    Args:
        groups: best first.
        is_same: [len(groups), len(groups)], whether two of them show the same photo.
    """
    stacks = [[groups[index] for index in indices] for indices in stacks_of(is_same)]
    return [
        replace(best, stack=further_shots) if further_shots else best
        for best, *further_shots in stacks
    ]


def stacks_of(is_same: NDArray[np.bool_]) -> list[list[int]]:
    """The places of assets by the photo that they show, in the order of each one's first.

    A shot belongs to a stack if it is the same photo as any in it, so that a series whose first and
    last shots differ is one stack.
    """
    earlier_of = list(range(len(is_same)))

    def first(index: int) -> int:
        while earlier_of[index] != index:
            index = earlier_of[index]
        return index

    for pair in np.argwhere(np.tril(is_same)).tolist():
        earlier, later = sorted(map(first, pair))
        earlier_of[later] = earlier
    stacks: dict[int, list[int]] = {}
    for index in range(len(earlier_of)):
        stacks.setdefault(first(index), []).append(index)
    return list(stacks.values())


def first_of_each(
    ranked: Iterable[ScoredSegment], n_each: int, n_assets: int
) -> list[ScoredSegment]:
    """The first ``n_each`` segments of each of the first ``n_assets`` assets, in their order."""
    n_of_asset = Counter[str]()
    best = []
    for segment in ranked:
        is_wanted = segment.asset_id in n_of_asset or len(n_of_asset) < n_assets
        if is_wanted and n_of_asset[segment.asset_id] < n_each:
            n_of_asset[segment.asset_id] += 1
            best.append(segment)
    return best


def diversify(
    scores: Sequence[float],
    embeddings: Embeddings,
    n: int,
    diversity: float,
    chosen: Sequence[int] = (),
) -> list[int]:
    """Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).

    Each step takes the candidate with the highest ``(1 - diversity) * relevance - diversity *
    (the highest cosine to what is chosen)``. Relevance is the score, scaled so that the candidates'
    scores span 0 to 1: calibrated scores have no fixed range, and cosines below 0 count as 0.

    Args:
        scores: of the candidates, best first; equal ones stay in this order.
        embeddings: float32 unit rows [len(scores), embed_dim].
        n: how many to choose.
        diversity: 0 chooses by score alone, 1 by unlikeness alone.
        chosen: indices of what was chosen before; it counts, and is not chosen again.

    Returns:
        Indices of the candidates, in the order in which they were chosen; ``n`` at most.
    """
    relevance = np.asarray(scores, np.float64)
    span = np.ptp(relevance) if len(relevance) else 0.0
    relevance = (1 - diversity) * (relevance - min(scores, default=0.0)) / (span or 1.0)
    nearest = np.zeros(len(relevance))
    free = np.ones(len(relevance), bool)

    def take(index: int) -> None:
        free[index] = False
        np.maximum(nearest, embeddings @ embeddings[index], out=nearest)

    for index in chosen:
        take(index)
    order: list[int] = []
    for _ in range(min(n, int(free.sum()))):
        marginal = np.where(free, relevance - diversity * nearest, -np.inf)
        order.append(int(np.argmax(marginal)))
        take(order[-1])
    return order
