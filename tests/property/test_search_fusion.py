from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from encoder.space import Calibration, Space
from encoder.types import AUDIO, IMAGE, TEXT
from search.ranking.fusion import (
    FusedQuery,
    RankedSegment,
    rank,
    score_segments,
    with_words,
    words_weight,
)
from search.ranking.grouping import by_asset
from search.types import ScoredSegment

SPACE = Space(4, {}, {IMAGE: Calibration(0.2, 0.1), TEXT: Calibration(0.1, 0.2)})
cosines = st.floats(-1, 1, width=32)
segments = st.lists(
    st.builds(
        ScoredSegment,
        st.text("abc", min_size=1, max_size=4),
        st.sampled_from(["a1", "a2", "a3"]),
        st.sampled_from([TEXT, IMAGE, AUDIO]),
        cosines,
        confidence=st.floats(0, 1),
    ),
    unique_by=lambda s: s.segment_id,
    max_size=30,
)


QUERY = FusedQuery(np.eye(1, 4, dtype=np.float32)[0])


def ranked(found: list[ScoredSegment]) -> list[RankedSegment]:
    kinds = (TEXT, IMAGE, AUDIO)
    lists = {m: [s for s in found if s.modality == m] for m in kinds}
    return rank(c for m, part in lists.items() for c in score_segments(m, part, QUERY, SPACE))


@given(segments)
def test_each_asset_appears_once_with_its_best(found: list[ScoredSegment]) -> None:
    candidates = ranked(found)
    groups = by_asset(candidates, [TEXT, IMAGE, AUDIO], len(found))
    assert sorted(c.segment.segment_id for g in groups for c in (g.best, *g.moments)) == sorted(
        s.segment_id for s in found
    )
    best = [group.best for group in groups]
    assert len({c.segment.asset_id for c in best}) == len(best)
    assert {c.segment.asset_id for c in best} == {s.asset_id for s in found}
    for candidate in best:
        rivals = [c.score for c in candidates if c.segment.asset_id == candidate.segment.asset_id]
        assert candidate.score == max(rivals)


@given(
    st.lists(st.integers(0, 90), max_size=50),
    st.dictionaries(st.integers(0, 60), st.integers(1, 9), min_size=1, max_size=20),
    st.sampled_from([0.001, 0.02, 3.0, 500.0]),
    st.sampled_from([-7.0, 0.0, 0.3, 40.0]),
)
def test_words_rank_alike_however_scores_are_scaled_and_shifted(
    hundredths: list[int], words: dict[int, int], scale: float, shift: float
) -> None:
    lexical = [
        ScoredSegment(f"s{number:02}", "a", TEXT, float(bm25), snippet="pump")
        for number, bm25 in sorted(words.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    plain = score_segments(
        TEXT,
        [ScoredSegment(f"s{n:02}", "a", TEXT, cosine / 100) for n, cosine in enumerate(hundredths)],
        QUERY,
        SPACE,
    )
    moved = [c._replace(dense=scale * c.dense + shift) for c in plain]
    places = {s.segment_id: (place, s.cosine) for place, s in enumerate(lexical, 1)}
    worded = with_words(plain, places, {TEXT: words_weight(plain, lexical, "pump")})
    assume((np.diff(sorted({c.score for c in worded})) > 1e-9).all())  # else rounding decides
    same = [c.segment.segment_id for c in rank(worded)]
    moved = with_words(moved, places, {TEXT: words_weight(moved, lexical, "pump")})
    assert [c.segment.segment_id for c in rank(moved)] == same
    assert all(c.words >= 0 for c in worded)
    assert len(worded) == len(plain)
