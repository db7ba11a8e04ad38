"""The measures and the texts of the quality benchmark."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.corpora.picture_sets import stamps
from benchmarks.harness.ranking_measures import (
    average_precisions,
    first_ranks,
    mean_reciprocal_rank,
    recall_at,
)
from benchmarks.retrieval.pictures import PARAPHRASES, WNIDS, known_name, masked

SCORES = np.array([[0.9, 0.1, 0.5], [0.2, 0.8, 0.4]])


def test_first_rank_is_that_of_the_best_relevant_item() -> None:
    relevant = np.array([[False, True, True], [False, True, False]])
    ranks = first_ranks(SCORES, relevant)
    assert ranks.tolist() == [1, 0]
    assert recall_at(ranks, 1) == 0.5
    assert recall_at(ranks, 2) == 1.0
    assert mean_reciprocal_rank(ranks) == 0.75


def test_ties_count_against_the_relevant_item() -> None:
    assert first_ranks(np.zeros((1, 5)), np.eye(1, 5, dtype=bool)).tolist() == [4]


def test_average_precision_is_that_of_the_textbook() -> None:
    relevant = np.array([[True, True, False], [True, False, True]])
    found = average_precisions(SCORES, relevant)
    assert found == pytest.approx([(1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2])


@given(st.permutations(range(8)), st.integers(1, 7))
def test_perfect_ranking_has_average_precision_one(order: list[int], n_relevant: int) -> None:
    scores = np.array([order], float)
    relevant = scores >= 8 - n_relevant
    assert average_precisions(scores, relevant) == pytest.approx([1.0])


def test_paraphrases_are_enough_of_known_classes_and_distinct() -> None:
    with PARAPHRASES.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file, delimiter="\t"))
    assert sum(line["split"] == "test" for line in lines) >= 60
    assert {line["wnid"] for line in lines} <= set(WNIDS.read_text("ascii").split())
    assert len({line["text"] for line in lines}) == len(lines)


def test_names_are_masked_whole() -> None:
    described = [("great white shark", ["The great white shark is a large and feared predator."])]
    assert masked(described, ["great white shark"])[0] == ["it is a large and feared predator."]


def test_caption_that_is_more_than_a_name_is_not_known() -> None:
    assert known_name("A red fox.", {"red fox"}) == "red fox"
    assert known_name("A red fox in the snow.", {"red fox"}) == ""


def test_stamps_are_photographs_with_captions(tmp_path: Path) -> None:
    for name, caption in (
        ("animals/cat", "A cat.\nde=Katze"),
        ("cartoon/cat", "A cat."),
        ("x", ""),
    ):
        path = tmp_path / "stamps" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.with_suffix(".txt").write_text(caption, "utf-8")
    (found,) = stamps(tmp_path / "stamps")
    assert found.caption == "A cat."
