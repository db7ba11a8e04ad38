from __future__ import annotations

from encoder.types import AUDIO, IMAGE
from search.ranking.fusion import RankedSegment
from search.ranking.grouping import by_asset
from search.types import ScoredSegment


def candidate(segment_id: str, asset_id: str, score: float) -> RankedSegment:
    return RankedSegment(ScoredSegment(segment_id, asset_id, IMAGE, score), score)


RANKED = [
    candidate("m2", "film", 0.9),
    candidate("m1", "film", 0.7),
    candidate("p", "picture", 0.5),
    candidate("m3", "film", 0.2),
]


def test_an_asset_is_at_its_best_moment_with_its_next_best() -> None:
    film, picture = by_asset(RANKED, [IMAGE], 1)
    assert (film.best, film.moments) == (RANKED[0], [RANKED[1]])
    assert (picture.best, picture.moments) == (RANKED[2], [])


def test_no_moments_are_kept_if_none_are_wanted() -> None:
    assert [group.moments for group in by_asset(RANKED, [IMAGE], 0)] == [[], []]


def test_of_one_kind_the_best_is_a_hit_and_others_are_moments() -> None:
    sound = RankedSegment(ScoredSegment("s", "film", AUDIO, 0.1), 0.1)
    (film,) = by_asset([*RANKED, sound], [AUDIO], 2)
    assert (film.key, film.best, film.moments) == ("film", sound, RANKED[:2])
