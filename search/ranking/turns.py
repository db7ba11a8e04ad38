"""A page of a mixed list, on which the kinds of segment take turns. Pure.

Scores say how far a segment stands out among its kind. They do not say which kind to show: a
sentence is nearer to a dozen sentences than to its own photo, and a page by score alone would
hold only sentences.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from search.ranking.grouping import Group


def take_turns(lists: Sequence[Sequence[Group]], limit: int) -> list[Group]:
    """The hits of a page, best first, weak ones last.

    In each round, every list that has a hit left gives one, the list with the best one first; an
    asset that is in several lists is taken once. Weak hits only fill what is left, by score.

    Args:
        lists: of each kind, best first.
        limit: the most hits.
    """
    chosen: dict[str, Group] = {}
    queues = [deque(group for group in one if not group.weak) for one in lists]
    while len(chosen) < limit and any(queues):
        for queue in sorted(filter(None, queues), key=lambda queue: _rank(queue[0])):
            _drop_chosen(queue, chosen)
            if queue:
                group = queue.popleft()
                chosen[group.key] = group
        for queue in queues:
            _drop_chosen(queue, chosen)
    kept = dict(list(chosen.items())[:limit])
    for group in sorted((group for one in lists for group in one), key=_rank):
        if len(kept) < limit:
            kept.setdefault(group.key, group)
    return sorted(kept.values(), key=lambda group: (group.weak, *_rank(group)))


def _drop_chosen(queue: deque[Group], chosen: Mapping[str, Group]) -> None:
    while queue and queue[0].key in chosen:
        queue.popleft()


def _rank(group: Group) -> tuple[float, str]:
    return -group.best.score, group.best.segment.segment_id
