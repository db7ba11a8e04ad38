"""Which model a process opens where bindings are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder.binding.binding import Binding, FeatureOrigin
from encoder.binding.ridge import LinearMap
from encoder.config import EncoderConfig
from encoder.models.bundle.model import bundle_of
from encoder.space import Calibration
from encoder.types import AUDIO
from workers.serving import resources

ENGLISH, MULTILINGUAL = "bundle:english", "bundle:multilingual"


def fingerprint(bundle: str) -> str:
    from encoder.models.bundle.declaration import read_bundle
    from encoder.models.bundle.model import space_of

    return space_of(read_bundle(bundle.partition(":")[2]), "auto", "auto").fingerprint


@pytest.mark.parametrize("bundle", [ENGLISH, MULTILINGUAL])
def test_bindings_name_the_bundle_of_their_space(tmp_path: Path, bundle: str) -> None:
    linear = LinearMap(np.zeros(4, np.float32), np.zeros((4, 384), np.float32))
    origin = FeatureOrigin("hf:org/clap", "b" * 16)
    bound = Binding(AUDIO, fingerprint(bundle), origin, linear, Calibration(), {})
    bound.write(tmp_path / "sounds.npz")
    config = EncoderConfig(model="bundle:default", bindings=(tmp_path / "sounds.npz",))
    assert bundle_of({bound.space}, "auto", "auto") == bundle
    assert resources._model_of(config, "memory:") == bundle
