"""The arithmetic of the sound benchmark."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.retrieval.sounds import SENTENCES, average_precision, mean_average_precision


def test_average_precision_of_a_known_ranking() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.1])
    assert average_precision(scores, np.array([True, False, True, False])) == pytest.approx(5 / 6)
    assert average_precision(scores, np.array([True, True, False, False])) == 1.0


def test_each_class_has_its_query() -> None:
    sounds = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    found = mean_average_precision(np.eye(3, dtype=np.float32), sounds, np.array([0, 1, 2, 0]))
    assert found == [1.0, 1.0, 1.0]


def test_sentences_differ() -> None:
    sentences = SENTENCES.read_text("utf-8").splitlines()
    assert len(set(sentences)) == len(sentences) >= 50
