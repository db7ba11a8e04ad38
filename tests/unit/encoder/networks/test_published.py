"""Our networks against the published ones, on the published weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import BertModel

from encoder.errors import ModelError
from encoder.networks.bert import load_sentence_bert
from encoder.networks.convolutions import load_aisfx, load_efficientnet_lite
from encoder.onnx.convolutions import HEADS, LITE2

GOLDEN = Path(__file__).parents[3] / "golden"


def test_sounds_have_the_features_and_logits_of_aisfx(bundle_home: Path) -> None:
    """What the network of the package aisfx 0.1.2 gives: features, and the logits of two heads."""
    blocks = np.random.default_rng(7).random((2, 100, 96), dtype=np.float32)
    model = load_aisfx(bundle_home / "audio" / "weights.pth")
    with torch.inference_mode():
        outputs = model(torch.from_numpy(blocks))
    assert [output.shape for output in outputs] == [(2, 512), *((2, n) for n in HEADS.values())]
    with np.load(GOLDEN / "aisfx.npz") as golden:
        for output, name in zip(outputs, ("features", "prosfx", "soundly"), strict=True):
            np.testing.assert_allclose(output.numpy(), golden[name], rtol=1e-4, atol=1e-4)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"weights\.pth is not the aiSFX checkpoint"):
        load_aisfx(path)
    with pytest.raises(ModelError, match="bundle fetch"):
        load_aisfx(tmp_path / "missing.pth")


def test_texts_have_the_states_of_bert(bundle_home: Path) -> None:
    folder = bundle_home / "text"
    rng = np.random.default_rng(3)
    ids = torch.from_numpy(rng.integers(1000, 9000, (3, 40)))
    mask = torch.ones(3, 40)
    mask[0, 7:] = 0
    mask[1, 1:] = 0

    reference = BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = reference(ids, attention_mask=mask.long()).last_hidden_state
        expected = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        found = load_sentence_bert(folder)(ids, mask)

    assert torch.allclose(found, expected, atol=2e-6)


def waves() -> NDArray[np.float32]:
    """Two patterns that need no file, [2, 3, 260, 260]."""
    y, x = np.mgrid[0:260, 0:260] / 260
    patterns = [[np.sin(k * x + c + 3 * y) * np.cos(k * y * x) for c in range(3)] for k in (4, 17)]
    return np.asarray(patterns, np.float32)


def test_pictures_have_the_logits_of_efficientnet_lite(bundle_home: Path) -> None:
    """What the package efficientnet-lite-pytorch 0.1.0 gives for `waves`."""
    model = load_efficientnet_lite(bundle_home / "image" / "weights.pth", LITE2)

    with torch.inference_mode():
        logits = model(torch.from_numpy(waves())).numpy()

    with np.load(GOLDEN / "efficientnet_lite2.npz") as golden:
        np.testing.assert_allclose(logits, golden["logits"], atol=1e-4)
