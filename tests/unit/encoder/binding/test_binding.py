"""The maths of a binding, its judgement and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder.binding import ridge
from encoder.binding.binding import Binding, BoundTower, FeatureOrigin, read_binding
from encoder.binding.classifier import Classifier, NamedClasses, fit_classifier, read_classifier
from encoder.binding.judge import FileTextPairs, held_out, judge
from encoder.binding.ridge import LinearMap, Shared, folds
from encoder.errors import ModelError
from encoder.space import Calibration, Space, l2_normalize
from encoder.towers.base import Encoded, forward
from encoder.towers.model import Model
from encoder.types import TEXT, Modality

N, FEATURES, DIM = 60, 12, 8


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def pairs(noise: float, n_texts: int = N) -> FileTextPairs:
    """Files whose features are a linear function of their text's embedding, and noise."""
    asked = l2_normalize(drawn(0, n_texts, DIM))
    texts = np.arange(N) % n_texts
    clean = asked[texts] @ drawn(1, DIM, FEATURES)
    features = clean * (noise < 1) + noise * drawn(2, N, FEATURES) + 3
    return FileTextPairs(features, np.arange(N), texts, asked)


def test_features_that_never_change_weigh_nothing() -> None:
    given = pairs(0.1)
    features = np.hstack([given.features, np.full((N, 1), 7.0, np.float32)])
    weight = ridge.fit(features, given.targets()).weight
    assert (weight[-1] == 0).all()
    assert np.isfinite(weight).all()


def test_what_was_good_before_is_not_replaced() -> None:
    given = pairs(0.1)
    judged = judge(given, given.targets(), held_out(given))
    assert judged.before["recall_at_1"] == 1
    assert not judged.helps


def test_captions_of_one_file_are_in_one_fold() -> None:
    given = pairs(1.0)
    twice = FileTextPairs(
        given.features,
        np.concatenate([given.files, given.files]),
        np.concatenate([given.texts, (given.texts + 1) % N]),
        given.asked,
    )
    judged = judge(twice, None, held_out(twice))
    assert (judged.n_pairs, judged.n_files) == (2 * N, N)
    assert judged.after["recall_at_1"] < 0.1  # a leak would find them


def binding(linear: LinearMap | None = None) -> Binding:
    return Binding(
        Modality("points"),
        "a" * 16,
        FeatureOrigin("points-kind 1.0"),
        linear or LinearMap(drawn(7, FEATURES), drawn(8, FEATURES, DIM)),
        Calibration(0.1, 0.2),
        {"n_files": 20},
    )


def test_a_binding_is_a_file(tmp_path: Path) -> None:
    made = binding()
    made.write(tmp_path / "points.npz")
    found = read_binding(tmp_path / "points.npz")
    assert found.identity == made.identity
    assert (found.modality, found.space, found.origin) == ("points", "a" * 16, made.origin)
    assert (found.calibration, found.figures) == (made.calibration, made.figures)
    assert list(tmp_path.iterdir()) == [tmp_path / "points.npz"]
    assert binding(LinearMap(made.linear.mean, made.linear.weight * 2)).identity != made.identity


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_a_damaged_file_is_named(tmp_path: Path, damage: bytes | None) -> None:
    file = tmp_path / "points.npz"
    binding().write(file)
    file.write_bytes(file.read_bytes()[:300] if damage is None else damage)
    with pytest.raises(ModelError, match=r"points\.npz cannot be read as a binding"):
        read_binding(file)


class Rows:
    """A tower whose items are their rows."""

    n_rows = 2

    def prepare(self, content: np.ndarray) -> np.ndarray:
        return content

    def forward(self, batch: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(batch)


class Known(Rows):
    """One that also has features."""

    def features(self, batch: list[np.ndarray]) -> np.ndarray:
        return np.stack(batch).reshape(len(batch), -1)[:, :3]


@pytest.mark.parametrize(("tower", "n_features"), [(Rows(), 8), (Known(), 3)])
def test_a_bound_tower_maps_features_or_all_rows_of_an_item(tower: Rows, n_features: int) -> None:
    linear = LinearMap(np.zeros(n_features, np.float32), drawn(9, n_features, DIM))
    item = drawn(10, 2, 4)
    (row,) = forward(BoundTower(tower, linear), [item]).rows
    wanted = l2_normalize(item.reshape(1, -1)[:, :n_features] @ linear.weight)[0]
    assert np.allclose(row, wanted, atol=1e-6)


def test_another_number_of_features_is_refused() -> None:
    tower = BoundTower(Rows(), LinearMap(np.zeros(5, np.float32), drawn(9, 5, DIM)))
    with pytest.raises(ModelError, match="Rows returned 8 features, but the binding was fitted"):
        tower.forward([drawn(10, 2, 4)])


THERE, HERE = 12, 8


def turned(rows: np.ndarray) -> np.ndarray:
    """From one space to the other."""
    return l2_normalize(rows @ drawn(1, HERE, THERE))


def test_what_was_fitted_on_texts_finds_files_beyond_a_gap() -> None:
    texts, asked = l2_normalize(drawn(2, 200, HERE)), l2_normalize(drawn(3, N, HERE))
    gap = 5 * drawn(4, THERE)
    features = turned(asked) + gap
    shared = Shared(turned(texts), texts)
    pairs = FileTextPairs(features, np.arange(N), np.arange(N), asked)
    judged = judge(pairs, None, shared.held_out(features))
    assert judged.helps
    assert judged.after["recall_at_1"] > 0.9
    rows = l2_normalize(shared.fit(features).apply(features))
    assert ((rows @ asked.T).argmax(axis=1) == np.arange(N)).mean() > 0.9


def test_a_file_is_centred_without_itself() -> None:
    texts = l2_normalize(drawn(2, 50, HERE))
    shared = Shared(turned(texts), texts)
    features = drawn(5, 25, THERE)
    moved = features.copy()
    moved[0] += 100  # moves the mean of the folds that have it, and not its own
    first = next(fold for fold in folds(25) if fold[0])
    rows, other = shared.held_out(features), shared.held_out(moved)
    same = first.copy()
    same[0] = False
    assert np.allclose(rows[same], other[same])
    assert not np.allclose(rows[~first], other[~first])


NAMES = ("a low hum", "a whistle", "a hiss")


@pytest.fixture(scope="module")
def drawn_classes() -> tuple[np.ndarray, np.ndarray]:
    """Three heaps, in features of different sizes, one of which never changes."""
    random = np.random.default_rng(0)
    classes = np.arange(150) % 3
    middles = random.normal(size=(3, 4)) * 4
    features = (middles[classes] + random.normal(size=(150, 4))) * [1, 100, 0.01, 0] + 5
    return features, classes


@pytest.fixture(scope="module")
def fitted(drawn_classes: tuple[np.ndarray, np.ndarray]) -> Classifier:
    features, classes = drawn_classes
    return fit_classifier(features[:90], classes[:90], NAMES)


def test_it_names_what_it_was_not_fitted_on(
    fitted: Classifier, drawn_classes: tuple[np.ndarray, np.ndarray]
) -> None:
    features, classes = drawn_classes
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


def test_half_of_two_classes_lies_between_them() -> None:
    a, b, between = NamedClasses(model(), LETTERS).rows(
        np.array([[50.0, 0, 0, 0], [0, 50.0, 0, 0], [50.0, 50.0, 0, 0]])
    )
    assert between @ a == pytest.approx(between @ b, abs=1e-5)
    assert between @ a > a @ b


def test_a_model_without_texts_is_refused() -> None:
    with pytest.raises(ModelError, match="a model that embeds text"):
        NamedClasses(Model(Space(5, {}), {}), LETTERS)
