"""Named classes among the texts of a model."""

from __future__ import annotations

import numpy as np
import pytest

from encoder.binding.classifier import NamedClasses
from encoder.errors import ModelError
from encoder.space import Space
from encoder.towers.base import Encoded
from encoder.towers.model import Model
from encoder.types import TEXT


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


NAMES = ["aaa", "bb", "c", "d"]


def test_a_sure_class_lies_at_its_name() -> None:
    asked = np.concatenate([Letters(1.0).prepare(name) for name in NAMES])
    rows = NamedClasses(model(), NAMES).rows(100 * np.eye(4))
    assert ((asked @ rows.T).argmax(axis=1) == np.arange(4)).all()
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_names_are_queries_less_what_they_share() -> None:
    labels = NamedClasses(model(), NAMES)._labels
    assert np.abs(labels[:, 4]).max() < 0.5  # each name has more of its role
    assert np.abs(labels).sum() > 0


def test_half_of_two_classes_lies_between_them() -> None:
    a, b, between = NamedClasses(model(), NAMES).rows(
        np.array([[50.0, 0, 0, 0], [0, 50.0, 0, 0], [50.0, 50.0, 0, 0]])
    )
    assert between @ a == pytest.approx(between @ b, abs=1e-5)
    assert between @ a > a @ b


def test_a_model_without_texts_is_refused() -> None:
    with pytest.raises(ModelError, match="a model that embeds text"):
        NamedClasses(Model(Space(5, {}), {}), NAMES)
