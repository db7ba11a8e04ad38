from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from encoder.space import Calibration, Space
from encoder.types import AUDIO, IMAGE, TEXT
from search.fusion import fuse_queries, rank
from search.grouping import by_asset
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
    ),
    unique_by=lambda s: s.segment_id,
    max_size=30,
)
rows = st.lists(st.lists(cosines, min_size=4, max_size=4), min_size=1, max_size=5)


def by_modality(found: list[ScoredSegment]) -> dict:  # type: ignore[type-arg]
    return {m: [s for s in found if s.modality == m] for m in (TEXT, IMAGE, AUDIO)}


@given(segments, st.randoms())
def test_the_order_of_arrival_does_not_matter(found: list[ScoredSegment], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(found)
    random.shuffle(shuffled)
    assert rank(by_modality(found), SPACE) == rank(by_modality(shuffled), SPACE)


@given(segments)
def test_ranking_keeps_all_and_falls(found: list[ScoredSegment]) -> None:
    ranked = rank(by_modality(found), SPACE)
    assert sorted(c.segment.segment_id for c in ranked) == sorted(s.segment_id for s in found)
    scores = [c.score for c in ranked]
    assert scores == sorted(scores, reverse=True)


@given(segments)
def test_each_asset_appears_once_with_its_best(found: list[ScoredSegment]) -> None:
    ranked = rank(by_modality(found), SPACE)
    groups = by_asset(ranked, len(found))
    assert sorted(c.segment.segment_id for g in groups for c in (g.best, *g.moments)) == sorted(
        s.segment_id for s in found
    )
    best = [group.best for group in groups]
    assert len({c.segment.asset_id for c in best}) == len(best)
    assert {c.segment.asset_id for c in best} == {s.asset_id for s in found}
    for candidate in best:
        rivals = [c.score for c in ranked if c.segment.asset_id == candidate.segment.asset_id]
        assert candidate.score == max(rivals)


@given(rows)
def test_a_fused_query_is_a_unit_vector_and_ignores_the_order(values: list[list[float]]) -> None:
    embeddings = np.array(values, np.float32)
    norms = np.linalg.norm(embeddings, axis=1)
    assume((norms > 1e-3).all())
    assume(np.linalg.norm((embeddings / norms[:, None]).sum(axis=0)) > 1e-2)
    fused = fuse_queries(embeddings)
    np.testing.assert_allclose(np.linalg.norm(fused), 1, atol=1e-5)
    np.testing.assert_allclose(fused, fuse_queries(embeddings[::-1]), atol=1e-5)
