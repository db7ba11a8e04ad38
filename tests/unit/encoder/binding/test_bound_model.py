"""A model with bound towers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoder import registry
from encoder.binding.binding import Binding, FeatureOrigin
from encoder.binding.ridge import LinearMap
from encoder.errors import ModelError
from encoder.loading import with_bindings
from encoder.space import Calibration, Space
from encoder.towers.model import Model
from encoder.types import AUDIO, TEXT, Modality

POINTS = Modality("points")
LINEAR = LinearMap(np.zeros(3, np.float32), np.eye(3, 4, dtype=np.float32))
BOUND = Calibration(0.1, 0.2)


class Three:
    """A plug-in's tower of three numbers."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def prepare(self, content: np.ndarray) -> np.ndarray:
        return content[None]

    def forward(self, batch: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(batch)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_factories", {})
    registry.register_modality("points", Three)


def model(**calibration: Calibration) -> Model:
    constants = {Modality(name): one for name, one in calibration.items()}
    return Model(Space(4, {"text": "a"}, constants), {}, queries={})


def written(folder: Path, base: Model, modality: Modality = POINTS, **origin: str) -> Path:
    made_by = origin.get("made_by", registry.origin_of(POINTS))
    made = FeatureOrigin(made_by, origin.get("space", ""))
    path = folder / f"{modality}.npz"
    Binding(modality, base.space.fingerprint, made, LINEAR, BOUND, {}).write(path)
    return path


def opened(base: Model, *paths: Path) -> Model:
    return with_bindings(base, paths, n_threads=None, quantization=None)


def test_a_plug_in_s_tower_is_bound(tmp_path: Path) -> None:
    base = model()
    bound = opened(base, written(tmp_path, base))
    tower = bound.towers[POINTS]
    (row,) = tower.forward([tower.prepare(np.array([0, 3, 4], np.float32))]).rows
    assert np.allclose(row, [0, 0.6, 0.8, 0])
    assert bound.space.fingerprint != base.space.fingerprint


def test_constants_come_with_it_where_the_model_has_some(tmp_path: Path) -> None:
    level = Calibration(0.3, 0.4)
    base = model(text=level, audio=level)
    path = written(tmp_path, base, AUDIO, space=base.space.fingerprint, made_by="dir:x")
    bound = opened(base, path)
    assert bound.space.calibration == {TEXT: level, AUDIO: BOUND}
    bare = replace(base, space=replace(base.space, calibration={}))
    assert opened(bare, path).space.calibration == {}


def test_another_version_of_the_plug_in_is_refused(tmp_path: Path) -> None:
    base = model()
    path = written(tmp_path, base, made_by="anymodal-points 0.0.1")
    with pytest.raises(ModelError, match=r"made with anymodal-points 0\.0\.1; the package"):
        opened(base, path)


def test_a_plug_in_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = model()
    path = written(tmp_path, base)
    monkeypatch.setattr(registry, "_factories", {})
    with pytest.raises(ModelError, match="the package for points here is not installed"):
        opened(base, path)
