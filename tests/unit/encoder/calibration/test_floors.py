from __future__ import annotations

import numpy as np
import pytest

from encoder.calibration.floors import CHANCE, HEAP, LETTERS, measure_floors, nonsense
from encoder.calibration.measure import scores_of
from encoder.calibration.queries import SampleQuery, sample_queries
from encoder.space import Calibration, l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings

DIM = 64
BY = {IMAGE: Calibration(0.1, 0.2, (Calibration(0.0, 0.1),))}


def rows(n: int, seed: int) -> Embeddings:
    return l2_normalize(np.random.default_rng(seed).normal(size=(n, DIM)))


def asked(n: int) -> list[SampleQuery]:
    return [SampleQuery("", LETTERS, "x")] * n


def test_few_queries_of_chance_reach_the_floor_whatever_the_size() -> None:
    pictures = np.stack([rows(2000, 1), rows(2000, 2)], axis=1)
    samples = {IMAGE: pictures, TEXT: rows(2000, 3)[:, None], AUDIO: pictures[:0]}
    floors = measure_floors(asked(400), rows(400, 4), samples, BY)
    assert floors.keys() == {IMAGE, TEXT}
    for n in (500, 2000, 20_000):
        stored = np.stack([rows(n, 5), rows(n, 6)], axis=1)
        best = scores_of(rows(400, 7), stored, BY[IMAGE]).max(axis=1)
        above = (best >= floors[IMAGE].among(n)).mean()
        assert above < 1.7 * CHANCE
        assert above > 0.003 or n > 2000  # beyond the sample it rises a little too far
    assert floors[TEXT].level < 1 < floors[IMAGE].level


def test_of_few_vectors_the_floor_is_that_of_these() -> None:
    (floor,) = measure_floors(asked(50), rows(50, 1), {TEXT: rows(3, 2)[:, None]}, {}).values()
    assert (floor.slope, floor.n) == (0.0, 3)
    assert floor.among(1_000_000) == floor.level


def test_nonsense_is_of_all_languages_and_the_same_each_time() -> None:
    queries = sample_queries()
    made = nonsense(queries)
    assert made == nonsense(queries)
    texts = [query.text for query in made]
    assert len(set(texts)) > 390
    assert {query.text for query in queries}.isdisjoint(texts)
    heaps = {query.language for query in made if query.kind == HEAP}
    assert heaps == {query.language for query in queries}
    letters = [query for query in made if query.kind == LETTERS]
    assert len(letters) == 200
    assert {"ru", "de"} <= {query.language for query in letters}
    assert "zh" not in {query.language for query in letters}  # a character is a word
    assert all(query.text.strip() for query in made)


def test_a_heap_of_words_means_nothing_to_texts_only() -> None:
    queries = [SampleQuery("en", HEAP, "a"), SampleQuery("en", LETTERS, "b")] * 20
    embeddings = np.tile(np.eye(2, DIM, dtype=np.float32), (20, 1))
    near_heaps = np.eye(1, DIM, dtype=np.float32)[:, None]
    floors = measure_floors(queries, embeddings, {TEXT: near_heaps, IMAGE: near_heaps}, {})
    assert (floors[TEXT].level, floors[IMAGE].level) == (1.0, 0.0)


@pytest.mark.parametrize("n", [1, 40])
def test_floors_are_in_calibrated_units(n: int) -> None:
    sample = rows(n, 1)[:, None]
    bare, scaled = (
        measure_floors(asked(60), rows(60, 2), {IMAGE: sample}, constants)[IMAGE]
        for constants in ({}, {IMAGE: Calibration(0.5, 0.1)})
    )
    assert scaled.level == pytest.approx((bare.level - 0.5) / 0.1)
    assert scaled.slope == pytest.approx(bare.slope / 0.1)
