"""The gate as a file, and the rarity in it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoder.dsre.gatefile import GateFile, token_rarity
from encoder.dsre.settings import GateSettings, thresholds
from encoder.errors import InputError, ModelError

GATE = GateFile(
    token_rarity([[1, 2, 2], [1, 3]], 5), GateSettings(thresholds("I1", 6)), {"corpus": "two"}
)


def test_rarity_counts_texts_not_tokens() -> None:
    assert GATE.rarity.dtype == np.uint8
    assert GATE.rarity.tolist() == [255, 0, 94, 94, 255]


@pytest.mark.parametrize("texts", [[], [[1], [7]], [[-1]]])
def test_rarity_of_bad_texts(texts: list[list[int]]) -> None:
    with pytest.raises(InputError, match="Expected"):
        token_rarity(texts, 5)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    GATE.save(tmp_path / "gate.npz")
    loaded = GateFile.load(tmp_path / "gate.npz")
    assert np.array_equal(loaded.rarity, GATE.rarity)
    assert (loaded.settings, loaded.facts) == (GATE.settings, GATE.facts)
    assert loaded.identity == GATE.identity
    assert [path.name for path in tmp_path.iterdir()] == ["gate.npz"]


def test_identity_follows_what_changes_an_embedding() -> None:
    assert replace(GATE, facts={}).identity == GATE.identity
    shifted = replace(GATE, settings=GateSettings(thresholds("I1", 6, shift=0.01)))
    assert shifted.identity != GATE.identity
    assert replace(GATE, rarity=GATE.rarity + np.uint8(1)).identity != GATE.identity


DELTAS = {
    "bias": np.array([0.5, -0.25], np.float16),
    "weight:up": np.ones((2, 1), np.float16),
    "weight:down": np.ones((1, 3), np.float16),
}


def test_changed_weights_are_kept_and_distinguish_gates(tmp_path: Path) -> None:
    distilled = replace(GATE, deltas=DELTAS)
    distilled.save(tmp_path / "gate.npz")
    loaded = GateFile.load(tmp_path / "gate.npz")
    assert loaded.deltas.keys() == DELTAS.keys()
    assert all(np.array_equal(loaded.deltas[name], DELTAS[name]) for name in DELTAS)
    assert loaded.identity == distilled.identity != GATE.identity
    assert replace(loaded, deltas=dict(loaded.deltas)).identity == distilled.identity
    other = replace(GATE, deltas=DELTAS | {"bias": DELTAS["bias"] * 2})
    assert other.identity != distilled.identity


def test_a_gate_without_changes_is_as_before_them(tmp_path: Path) -> None:
    assert GATE.identity == "dsre:6ba87d928f1e8506"
    GATE.save(tmp_path / "gate.npz")
    with np.load(tmp_path / "gate.npz") as arrays:
        assert json.loads(str(arrays["about"]))["version"] == 1
        assert sorted(arrays.files) == ["about", "rarity"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"bias": np.zeros(2, np.float32)},
        {"bias": np.array([np.nan], np.float16)},
        {"weight:up": np.ones((2, 1), np.float16)},
    ],
)
def test_changes_that_are_damaged(tmp_path: Path, wrong: dict[str, np.ndarray]) -> None:
    replace(GATE, deltas=wrong).save(tmp_path / "gate.npz")
    with pytest.raises(ModelError, match=next(iter(wrong))):
        dict(GateFile.load(tmp_path / "gate.npz").deltas)


def test_a_file_that_is_no_gate(tmp_path: Path) -> None:
    path = tmp_path / "gate.npz"
    with pytest.raises(ModelError, match="gate calibrate"):
        GateFile.load(path)
    path.write_bytes(b"PK not a zip")
    with pytest.raises(ModelError, match="gate calibrate"):
        GateFile.load(path)
    np.savez(path, rarity=GATE.rarity, about=np.array('{"version": 99, "facts": {}}'))
    with pytest.raises(ModelError, match="version 99"):
        GateFile.load(path)


def test_depth_stretches_the_curve() -> None:
    gates = [gate for gate in thresholds("I1", 12)[1:] if gate is not None]
    assert len(gates) == 11
    assert (gates[0], gates[-1]) == (0.82, 0.45)
    assert sorted(gates, reverse=True) == gates


@pytest.mark.parametrize(
    ("preset", "n_layers", "shift"), [("I9", 6, 0.0), ("I1", 2, 0.0), ("I1", 6, -0.5)]
)
def test_impossible_thresholds(preset: str, n_layers: int, shift: float) -> None:
    with pytest.raises(InputError, match="Expected"):
        thresholds(preset, n_layers, shift=shift)


@pytest.mark.parametrize(
    "values",
    [
        {"thresholds": (None, None)},
        {"thresholds": (None, 1.2)},
        {"thresholds": (None, math.nan)},
        {"thresholds": (0.5,), "protection": -0.1},
        {"thresholds": (0.5,), "floor": 0.0},
        {"thresholds": (0.5,), "min_tokens": 0},
    ],
)
def test_impossible_settings(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match="Expected"):
        GateSettings(**values)
