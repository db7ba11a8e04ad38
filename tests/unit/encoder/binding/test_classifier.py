"""A classifier for towers of plug-ins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder.binding.classifier import Classifier, fit_classifier, read_classifier

NAMES = ("a low hum", "a whistle", "a hiss")


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Three heaps, in features of different sizes, one of which never changes."""
    random = np.random.default_rng(0)
    classes = np.arange(150) % 3
    middles = random.normal(size=(3, 4)) * 4
    features = (middles[classes] + random.normal(size=(150, 4))) * [1, 100, 0.01, 0] + 5
    return features, classes


@pytest.fixture(scope="module")
def fitted(drawn: tuple[np.ndarray, np.ndarray]) -> Classifier:
    features, classes = drawn
    return fit_classifier(features[:90], classes[:90], NAMES)


def test_it_names_what_it_was_not_fitted_on(
    fitted: Classifier, drawn: tuple[np.ndarray, np.ndarray]
) -> None:
    features, classes = drawn
    assert (fitted.logits(features[90:]).argmax(axis=1) == classes[90:]).mean() > 0.9


def test_it_is_a_file(fitted: Classifier, tmp_path: Path) -> None:
    fitted.write(tmp_path / "sounds.npz")
    found = read_classifier(tmp_path / "sounds.npz")
    assert found.names == list(NAMES)
    assert np.array_equal(found.weight, fitted.weight)
    assert np.array_equal(found.bias, fitted.bias)
