"""The fit of the calibration, on corpora made up to be distinct."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.corpora.mixed import MODALITIES, PICTURES, TEXTS, Corpus, Items
from encoder.models.sources.bundle.tables import TABLES
from encoder.space import l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings
from scripts.fit_calibration import (
    calibrated,
    fit,
    judge,
    mean_average_precision,
    reciprocal_rank,
    z_score,
)

N_CONCEPTS, DIM = 40, 32


def with_gap(rng: np.random.Generator, gap: float) -> Items:
    """One item for each concept, pushed along a direction that all queries share."""
    concepts = np.arange(N_CONCEPTS)
    return Items(points(rng, concepts, gap), concepts)


def points(rng: np.random.Generator, concepts: NDArray[np.int64], gap: float) -> Embeddings:
    directions = np.random.default_rng(1).standard_normal((N_CONCEPTS, DIM))
    noise = 1.1 * rng.standard_normal((len(concepts), DIM))
    vectors = directions[concepts] + noise
    vectors[:, 0] = gap * np.sqrt(DIM)
    return l2_normalize(vectors)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    rng = np.random.default_rng(0)
    gaps = {TEXT: 0.2, IMAGE: 1.0, AUDIO: 1.8}
    targets = {modality: with_gap(rng, gap) for modality, gap in gaps.items()}
    return Corpus({TEXT: with_gap(rng, 0.8), IMAGE: targets[IMAGE], AUDIO: targets[AUDIO]}, targets)


def test_constants_follow_the_level_of_each_modality(corpus: Corpus) -> None:
    constants = fit(corpus)
    assert constants[TEXT].mu < constants[IMAGE].mu < constants[AUDIO].mu
    assert all(of.c > 0 for of in constants.values())


def test_calibration_beats_raw_cosines_across_a_gap(corpus: Corpus) -> None:
    found = judge(corpus)
    assert found["calibrated"][0] > found["raw cosine"][0] + 0.05


def test_calibration_keeps_the_order_within_a_modality(corpus: Corpus) -> None:
    queries = corpus.queries[TEXT].embeddings.astype(np.float64)
    cosines = {m: queries @ corpus.targets[m].embeddings.T for m in MODALITIES}
    for way in (calibrated(fit(corpus)), reciprocal_rank, z_score):
        for modality, scores in way(cosines).items():
            assert (np.argsort(scores) == np.argsort(cosines[modality])).all()


def test_query_by_picture_does_not_find_itself(corpus: Corpus) -> None:
    alone = corpus.of(np.array([3]))
    assert mean_average_precision(alone, IMAGE, lambda cosines: cosines) == 1.0
    assert len(alone.targets[IMAGE].concepts) == 1


def test_written_constants_are_for_each_modality() -> None:
    constants = json.loads((TABLES / "calibration.json").read_text("utf-8"))
    assert set(constants) == set(MODALITIES)
    assert all(0 < of["c"] < 1 and -1 < of["mu"] < 1 for of in constants.values())


def test_concepts_have_queries_and_texts() -> None:
    roles: dict[str, list[str]] = {}
    for line in TEXTS.read_text("utf-8").splitlines()[1:]:
        concept, role, _ = line.split("\t")
        roles.setdefault(concept, []).append(role)
    assert len(roles) == 10
    assert all(set(of) == {"query", "text"} for of in roles.values())
    assert set(PICTURES) <= set(roles)
