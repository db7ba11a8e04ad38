"""The maths of a binding, its judgement and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder.binding import ridge
from encoder.binding.binding import Binding, BoundTower, FeatureOrigin, read_binding
from encoder.binding.judge import FileTextPairs, held_out, judge
from encoder.binding.ridge import LinearMap, Shared, folds
from encoder.errors import ModelError
from encoder.space import Calibration, l2_normalize
from encoder.towers.base import forward
from encoder.types import Modality

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
