"""A classifier for towers of plug-ins, and named classes among the texts of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder.binding.classifier import Classifier, NamedClasses, fit_classifier, read_classifier
from encoder.errors import ModelError
from encoder.space import Space
from encoder.towers.base import Encoded
from encoder.towers.model import Model
from encoder.types import TEXT

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


class Letters:
    """Encodes a text as its counts of the letters a to d, and its role."""

    def __init__(self, role: float) -> None:
        self.role = role

    def prepare(self, content: str) -> np.ndarray:
        return np.array([[*(content.count(letter) for letter in "abcd"), self.role]], np.float32)

    def forward(self, batch: list[np.ndarray]) -> Encoded:
        rows = np.concatenate(batch)
        return Encoded(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def model() -> Model:
    return Model(Space(5, {}), {TEXT: Letters(0.0)}, queries={TEXT: Letters(1.0)})


LETTERS = ["aaa", "bb", "c", "d"]


def test_a_sure_class_lies_at_its_name() -> None:
    asked = np.concatenate([Letters(1.0).prepare(name) for name in LETTERS])
    rows = NamedClasses(model(), LETTERS).rows(100 * np.eye(4))
    assert ((asked @ rows.T).argmax(axis=1) == np.arange(4)).all()
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_names_are_queries_less_what_they_share() -> None:
    labels = NamedClasses(model(), LETTERS)._labels
    assert np.abs(labels[:, 4]).max() < 0.5  # each name has more of its role
    assert np.abs(labels).sum() > 0


def test_half_of_two_classes_lies_between_them() -> None:
    a, b, between = NamedClasses(model(), LETTERS).rows(
        np.array([[50.0, 0, 0, 0], [0, 50.0, 0, 0], [50.0, 50.0, 0, 0]])
    )
    assert between @ a == pytest.approx(between @ b, abs=1e-5)
    assert between @ a > a @ b


def test_a_model_without_texts_is_refused() -> None:
    with pytest.raises(ModelError, match="a model that embeds text"):
        NamedClasses(Model(Space(5, {}), {}), LETTERS)
