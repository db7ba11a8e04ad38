"""From what is heard to a point in the space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder.errors import ModelError
from encoder.models.bundle.declaration import SOUND_LABELS, TABLES
from encoder.towers.audio import labels as sound_labels


def test_the_table_is_whole() -> None:
    labels = sound_labels.load_sound_labels(SOUND_LABELS)
    assert labels.ucs.shape == (82, 384)
    assert np.linalg.norm(labels.ucs, axis=1) == pytest.approx(1, abs=1e-3)
    assert [len(columns) for columns in labels.columns] == [78, 79]
    assert all(np.all(np.diff(columns) > 0) for columns in labels.columns)
    n_features, n_names = labels.head.weights.shape
    assert n_features == 2 * 512 + 3 * 384
    assert labels.head.embeddings.shape == (n_names, 384)
    assert labels.head.bias.shape == (n_names,)


def test_a_head_may_do_without_speech() -> None:
    whole = sound_labels.load_sound_labels(SOUND_LABELS).head
    alone = sound_labels.load_sound_labels(TABLES / "sounds_e5.npz").head
    assert (whole.n_speech_features, alone.n_speech_features) == (3 * 384, 0)
    assert alone.weights.shape == (1024, len(alone.embeddings))


def test_probabilities_sum_to_one() -> None:
    labels = sound_labels.load_sound_labels(SOUND_LABELS)
    rng = np.random.default_rng(0)
    logits = [rng.normal(size=(3, len(c))).astype(np.float32) * 5 for c in labels.columns]
    assert sound_labels.ucs_probabilities(logits, labels).sum() == pytest.approx(1, abs=1e-5)
    features = rng.normal(size=len(labels.head.mean)).astype(np.float32)
    assert labels.head.probabilities(features).sum() == pytest.approx(1, abs=1e-5)


def test_the_point_lies_at_the_likeliest_names() -> None:
    embeddings = np.eye(12, dtype=np.float32)
    likely = np.array([0.6, 0.3] + [0.01] * 10, np.float32)
    place = sound_labels.point(likely, embeddings)
    assert np.linalg.norm(place) == pytest.approx(1)
    assert place[0] > place[1] > place[2]
    assert np.count_nonzero(place) == 10


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    np.savez(path, ucs_embeddings=np.zeros(3))
    with pytest.raises(ModelError, match=r"labels\.npz cannot be read"):
        sound_labels.load_sound_labels(path)
    with pytest.raises(ModelError, match="Install anymodal again"):
        sound_labels.load_sound_labels(tmp_path / "none.npz")


def test_names_in_e5s_space_have_nothing_of_what_all_texts_share() -> None:
    labels = sound_labels.load_sound_labels(TABLES / "sounds_e5.npz")
    with np.load(TABLES / "sounds_e5.npz") as table:
        common = table["common"].astype(np.float32)
    assert labels.ucs.shape[1] == labels.head.embeddings.shape[1] == 384
    for rows in (labels.ucs, labels.head.embeddings):
        assert np.abs(rows @ common).max() < 2e-3
