from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from encoder.space import Calibration, Space, l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings
from search.ranking.fusion import (
    FusedQuery,
    RankedSegment,
    fuse_terms,
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
rows = st.lists(st.lists(cosines, min_size=4, max_size=4), min_size=1, max_size=5)


QUERY = FusedQuery(np.eye(1, 4, dtype=np.float32)[0])


def ranked(found: list[ScoredSegment]) -> list[RankedSegment]:
    kinds = (TEXT, IMAGE, AUDIO)
    lists = {m: [s for s in found if s.modality == m] for m in kinds}
    return rank(c for m, part in lists.items() for c in score_segments(m, part, QUERY, SPACE))


@given(segments, st.randoms())
def test_the_order_of_arrival_does_not_matter(found: list[ScoredSegment], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(found)
    random.shuffle(shuffled)
    assert ranked(found) == ranked(shuffled)


@given(segments)
def test_ranking_keeps_all_and_falls(found: list[ScoredSegment]) -> None:
    candidates = ranked(found)
    assert sorted(c.segment.segment_id for c in candidates) == sorted(s.segment_id for s in found)
    scores = [c.score for c in candidates]
    assert scores == sorted(scores, reverse=True)


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


@given(rows)
def test_a_fused_query_is_a_unit_vector_and_ignores_the_order(values: list[list[float]]) -> None:
    embeddings = np.array(values, np.float32)
    norms = np.linalg.norm(embeddings, axis=1)
    assume((norms > 1e-3).all())
    assume(np.linalg.norm((embeddings / norms[:, None]).sum(axis=0)) > 1e-2)
    ones = [1.0] * len(embeddings)
    fused = fuse_terms(embeddings, ones)
    np.testing.assert_allclose(np.linalg.norm(fused.direction), 1, atol=1e-5)
    again = fuse_terms(embeddings[::-1], ones)
    np.testing.assert_allclose(fused.direction, again.direction, atol=1e-5)
    assert fused.weight == 1.0


@given(rows, st.lists(st.floats(0.1, 10), min_size=5, max_size=5), st.data())
def test_one_search_ranks_by_what_each_term_gives(
    values: list[list[float]], weights: list[float], data: st.DataObject
) -> None:
    """The score is that of the positive terms, less each negative term's score times its weight."""
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    embeddings = l2_normalize(np.array(values, np.float32) + rng.normal(size=(len(values), 4)))
    signs = data.draw(st.lists(st.sampled_from([1, -0.3]), min_size=5, max_size=5))
    signed = [weight * sign for weight, sign in zip(weights, signs, strict=True)][: len(embeddings)]
    signed[0] = abs(signed[0])
    positive = sum(weight for weight in signed if weight > 0)
    wanted = sum(w * row for w, row in zip(signed, embeddings, strict=True) if w > 0)
    assume(np.linalg.norm(wanted) > 0.1 * positive)
    wanted = wanted / np.linalg.norm(wanted)
    segment = l2_normalize(rng.normal(size=(1, 4)))[0]

    def calibrated(row: Embeddings) -> float:
        return (float(row @ segment) - 0.2) / 0.1

    expected = calibrated(wanted) + sum(
        w / positive * calibrated(row) for w, row in zip(signed, embeddings, strict=True) if w < 0
    )
    fused = fuse_terms(embeddings, signed)
    assume(fused.length > 0.1)
    cosine = float(fused.direction @ segment)
    assume(cosine < 0.999)
    (got,) = score_segments(IMAGE, [ScoredSegment("s", "a", IMAGE, cosine)], fused, SPACE)
    np.testing.assert_allclose(got.score, expected, atol=1e-3)


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
