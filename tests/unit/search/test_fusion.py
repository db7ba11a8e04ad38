from __future__ import annotations

import numpy as np
import pytest

from encoder.errors import InputError
from encoder.space import Calibration, Space
from encoder.types import AUDIO, IMAGE, TEXT, Modality
from search.fusion import fuse_queries, rank
from search.types import ScoredSegment

SPACE = Space(2, {}, {IMAGE: Calibration(0.5, 0.1), TEXT: Calibration(0.1, 0.2)})


def found(segment_id: str, cosine: float, modality: Modality) -> ScoredSegment:
    return ScoredSegment(segment_id, segment_id, modality, cosine)


def test_the_mean_of_two_directions_lies_between_them() -> None:
    fused = fuse_queries(np.eye(2, dtype=np.float32))
    assert fused == pytest.approx([np.sqrt(0.5)] * 2)


def test_a_weight_pulls_and_a_negative_one_pushes() -> None:
    fused = fuse_queries(np.eye(2, dtype=np.float32), [3.0, -1.0])
    assert fused == pytest.approx([3 / np.sqrt(10), -1 / np.sqrt(10)])


def test_items_that_cancel_each_other_out_are_refused() -> None:
    opposed = np.array([[1, 0], [-1, 0]], np.float32)
    with pytest.raises(InputError, match="cancel"):
        fuse_queries(opposed)


def test_one_weight_per_item_is_wanted() -> None:
    with pytest.raises(InputError, match="weights"):
        fuse_queries(np.eye(2, dtype=np.float32), [1.0])


def test_calibrated_scores_and_not_cosines_decide_across_modalities() -> None:
    ranked = rank({IMAGE: [found("i", 0.6, IMAGE)], TEXT: [found("t", 0.5, TEXT)]}, SPACE)
    assert [(c.segment.segment_id, pytest.approx(c.score)) for c in ranked] == [
        ("t", 2.0),
        ("i", 1.0),
    ]


def test_a_modality_without_constants_keeps_its_cosines() -> None:
    (candidate,) = rank({AUDIO: [found("a", 0.25, AUDIO)]}, SPACE)
    assert candidate.score == 0.25


def test_ties_are_broken_by_the_segment_id() -> None:
    ranked = rank({IMAGE: [found(name, 0.5, IMAGE) for name in "cab"]}, SPACE)
    assert [c.segment.segment_id for c in ranked] == ["a", "b", "c"]


def test_nothing_found_ranks_to_nothing() -> None:
    assert rank({IMAGE: [], TEXT: []}, SPACE) == []
