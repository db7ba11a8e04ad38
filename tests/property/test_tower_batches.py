"""A vector does not depend on its neighbours in the batch."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encoder.loading import load_model
from encoder.towers.base import Tower
from encoder.towers.model import Model
from encoder.types import IMAGE, TEXT, Embeddings

TEXTS = ["", "rain", "A dog barks at night.", "Ünïcödé 東京 🐈", "word " * 40, "long text " * 150]


@cache
def model() -> Model:
    return load_model("bundle:english", n_threads=1)


def encode(tower: Tower, contents: list[object]) -> Embeddings:
    return tower.forward([tower.prepare(content) for content in contents]).rows


def assert_same(alone: Embeddings, together: Embeddings) -> None:
    cosines = (alone * together).sum(axis=1)
    assert cosines.min() > 0.9999


@pytest.mark.usefixtures("bundle_home")
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(TEXTS) | st.text(max_size=60), min_size=1, max_size=8))
def test_text(texts: list[str]) -> None:
    tower = model().towers[TEXT]
    alone = np.concatenate([encode(tower, [text]) for text in texts])

    assert_same(alone, encode(tower, list(texts)))


@pytest.mark.usefixtures("bundle_home")
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=4))
def test_image(seeds: list[int]) -> None:
    tower = model().towers[IMAGE]
    pictures = [np.random.default_rng(s).integers(0, 255, (30, 40, 3), np.uint8) for s in seeds]
    alone = np.concatenate([encode(tower, [picture]) for picture in pictures])

    assert_same(alone, encode(tower, list(pictures)))


def test_texts_cover_every_run_size(bundle_home: Path) -> None:
    assert bundle_home.is_dir()
    tower = model().towers[TEXT]
    lengths = {len(tower.prepare(text)) for text in TEXTS}

    assert min(lengths) == 2
    assert max(lengths) > 256  # more than a window
