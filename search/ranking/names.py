"""Re-rank assets by their names. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.ranking.fusion import Candidate
from search.store.several import IDENTICAL

LEAST_PART = 0.3
"""Names that hold a smaller part of a query are ignored."""


def with_names(
    found: Sequence[Candidate],
    named: Sequence[Candidate],
    parts: Mapping[str, float],
) -> list[Candidate]:
    """The candidates of one modality, with those in front whose asset is named like the query.

    An asset whose names hold the whole query moves to the front; one whose names hold a part of it
    moves the square of that part of the way there: with two words of four, a quarter. In the new
    order, the first gets the score that the first one had before, and so on, so that other
    modalities keep their places. Only the best segment of an asset moves.

    Args:
        found: scored, best first.
        named: scored segments of the assets in ``parts``; some may be in ``found``.
        parts: by asset, 0 to 1.
    """
    known = {one.segment.segment_id for one in found}
    both = [*found, *(one for one in named if one.segment.segment_id not in known)]
    best: dict[str, str] = {}
    for one in sorted(both, key=lambda one: -one.score):
        best.setdefault(one.segment.asset_id, one.segment.segment_id)

    def part_of(one: Candidate) -> float:
        asset_id = one.segment.asset_id
        return parts.get(asset_id, 0.0) if best[asset_id] == one.segment.segment_id else 0.0

    slots = sorted((one.score for one in both), reverse=True)

    def order(one: Candidate) -> tuple[bool, float, float, float, str]:
        is_other = one.dense_rank is None or one.segment.cosine < IDENTICAL
        reached = one.score + one.named**2 * (slots[0] - one.score)
        return is_other, -reached, -one.named, -one.score, one.segment.segment_id

    ordered = sorted((one._replace(named=part_of(one)) for one in both), key=order)
    return [one._replace(score=slot) for one, slot in zip(ordered, slots, strict=True)]
