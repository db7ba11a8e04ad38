"""The sound network against the published one, on the published weights."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from encoder.errors import ModelError
from encoder.networks.convolutions import load_aisfx
from encoder.onnx.convolutions import HEADS

# What the aisfx 0.1.2 package's own network gives for the input below: its features and the
# logits of its heads "prosfx" and "soundlyTrain".
GOLDEN = Path(__file__).parents[3] / "golden" / "aisfx.npz"


def test_features_and_logits_equal_the_published_network(bundle_home: Path) -> None:
    blocks = np.random.default_rng(7).random((2, 100, 96), dtype=np.float32)
    model = load_aisfx(bundle_home / "audio" / "weights.pth")
    with torch.inference_mode():
        outputs = model(torch.from_numpy(blocks))
    assert [output.shape for output in outputs] == [(2, 512), *((2, n) for n in HEADS.values())]
    with np.load(GOLDEN) as golden:
        for output, name in zip(outputs, ("features", "prosfx", "soundly"), strict=True):
            np.testing.assert_allclose(output.numpy(), golden[name], rtol=1e-4, atol=1e-4)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"weights\.pth is not the aiSFX checkpoint"):
        load_aisfx(path)
    with pytest.raises(ModelError, match="bundle fetch"):
        load_aisfx(tmp_path / "missing.pth")


class Trap:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    path = tmp_path / "weights.pth"
    torch.save((Trap(sprung), {}), path, pickle_module=pickle)
    with pytest.raises(ModelError, match="which is not a tensor"):
        load_aisfx(path)
    assert not sprung.exists()
