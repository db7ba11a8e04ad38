from __future__ import annotations

import numpy as np
import pytest

from encoder.calibration.floors import (
    CHANCE,
    HEAP,
    INVENTED,
    LETTERS,
    CalibrationQueries,
    measure_floors,
    nonsense,
)
from encoder.calibration.measure import sample_queries, scores_of
from encoder.space import Calibration, Space, l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings

DIM = 64
SPACE = Space(DIM, {})
BY = {IMAGE: Calibration(0.1, 0.2, (Calibration(0.0, 0.1),))}


def rows(n: int, seed: int) -> Embeddings:
    return l2_normalize(np.random.default_rng(seed).normal(size=(n, DIM)))


def asked(embeddings: Embeddings, meant: Embeddings | None = None) -> CalibrationQueries:
    """Nonsense queries; those with a meaning resemble them, unless given."""
    passages = np.zeros((1, DIM), np.float32)
    meant = rows(200, 9) if meant is None else meant
    return CalibrationQueries(meant, passages, [LETTERS] * len(embeddings), embeddings, SPACE)


@pytest.mark.slow
def test_few_queries_of_chance_reach_the_floor_whatever_the_size() -> None:
    pictures = np.stack([rows(2000, 1), rows(2000, 2)], axis=1)
    samples = {IMAGE: pictures, TEXT: rows(2000, 3)[:, None], AUDIO: pictures[:0]}
    floors = measure_floors(asked(rows(400, 4)), samples, BY)
    assert floors.keys() == {IMAGE, TEXT}
    for n in (500, 2000, 20_000):
        stored = np.stack([rows(n, 5), rows(n, 6)], axis=1)
        best = scores_of(rows(400, 7), stored, BY[IMAGE]).max(axis=1)
        above = (best >= floors[IMAGE].among(n)).mean()
        assert above < 1.7 * CHANCE
        assert above > 0.003 or n > 2000  # beyond the sample it rises a little too far
    assert floors[TEXT].level < 1 < floors[IMAGE].level


def test_of_few_vectors_the_floor_is_that_of_these() -> None:
    (floor,) = measure_floors(asked(rows(50, 1)), {TEXT: rows(3, 2)[:, None]}, {}).values()
    assert (floor.slope, floor.n) == (0.0, 3)
    assert floor.among(1_000_000) == floor.level


def test_nonsense_is_of_all_languages_and_the_same_each_time() -> None:
    queries = sample_queries()
    made = nonsense(queries)
    assert made == nonsense(queries)
    texts = [query.text for query in made]
    assert len(set(texts)) > 570
    assert {query.text for query in queries}.isdisjoint(texts)
    heaps = {query.language for query in made if query.kind == HEAP}
    assert heaps == {query.language for query in queries}
    letters = [query for query in made if query.kind == LETTERS]
    assert len(letters) == 200
    assert {"ru", "de"} <= {query.language for query in letters}
    assert "zh" not in {query.language for query in letters}  # a character is a word
    assert all(query.text.strip() for query in made)
    invented = {query.text for query in made if query.kind == INVENTED}
    words = {word for query in queries for word in query.text.lower().split()}
    assert words.isdisjoint(word for text in invented for word in text.split() if len(word) > 6)


def test_a_heap_of_words_means_nothing_to_texts_only() -> None:
    embeddings = np.tile(np.eye(2, DIM, dtype=np.float32), (20, 1))
    zero = np.zeros((1, DIM), np.float32)
    by = CalibrationQueries(embeddings[1::2], zero, [HEAP, LETTERS] * 20, embeddings, SPACE)
    near_heaps = np.eye(1, DIM, dtype=np.float32)[:, None]
    floors = measure_floors(by, {TEXT: near_heaps, IMAGE: near_heaps}, {})
    assert (floors[TEXT].level, floors[IMAGE].level) == (1.0, 0.0)


def test_a_query_that_looks_like_others_that_mean_something_has_a_lower_floor() -> None:
    meant, letters = rows(300, 1), rows(300, 2)
    meant[:, 0] += 0.3
    letters[:, 0] -= 0.3
    by = asked(l2_normalize(letters), l2_normalize(meant))
    floor = measure_floors(by, {IMAGE: rows(1000, 3)[:, None]}, {})[IMAGE]
    new = rows(2, 4)
    new[:, 0] = 0.4, -0.4
    lower, higher = (floor.among(1000, row) for row in l2_normalize(new))
    assert lower < floor.level + 0.5 < higher - 0.5


def test_a_query_that_is_near_to_all_texts_has_a_higher_floor_among_them() -> None:
    passages = np.eye(1, DIM, dtype=np.float32)
    by = CalibrationQueries(rows(200, 9), passages, [LETTERS] * 200, rows(200, 1), SPACE)
    samples = {kind: rows(500, 3)[:, None] for kind in (TEXT, IMAGE)}
    floors = measure_floors(by, samples, {TEXT: Calibration(0.0, 0.5)})
    assert floors[TEXT].among(500, passages[0]) > floors[TEXT].level + 1
    assert floors[IMAGE].among(500, passages[0]) < floors[IMAGE].level + 1
