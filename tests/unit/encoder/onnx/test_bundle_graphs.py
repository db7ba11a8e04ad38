"""The bundle's float graphs, built from arrays, against its torch networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from encoder.errors import ModelError
from encoder.networks.bert import SentenceBert, arrays_of
from encoder.networks.convolutions import load_aisfx, load_efficientnet_lite
from encoder.onnx.bert import BertSize
from encoder.onnx.build_bert import write_bert
from encoder.onnx.convolutions import (
    LITE2,
    lay_aisfx,
    lay_efficientnet_lite,
    read_aisfx,
)
from encoder.onnx.pth import read_tensors
from encoder.runtime.onnx import OnnxSession
from encoder.runtime.torch import TorchSession
from encoder.runtime.trial import least_cosine

RNG = np.random.default_rng(0)
STANDARD = [("", 20)]


def agree(path: Path, module: nn.Module, *examples: dict[str, np.ndarray]) -> None:
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == STANDARD
    ours, theirs = OnnxSession(path, n_threads=1), TorchSession(module)
    for example in examples:
        assert least_cosine(ours.run(example), theirs.run(example)) > 0.999999


def texts(n: int, length: int, vocab_size: int = 9000) -> dict[str, np.ndarray]:
    mask = np.ones((n, length), np.float32)
    mask[0, (length + 1) // 2 :] = 0.0
    return {"input_ids": RNG.integers(0, vocab_size, (n, length)), "mask": mask}


def test_a_bert_of_another_shape(tmp_path: Path) -> None:
    torch.manual_seed(0)
    size = BertSize(99, n_positions=40, hidden_dim=24, ffn_dim=40, n_layers=2, n_heads=3)
    model = SentenceBert(size).eval()
    write_bert(arrays_of(model), tmp_path / "text.onnx")
    agree(tmp_path / "text.onnx", model, texts(2, 40, 99), texts(1, 1, 99))


def test_efficientnet_lite2(bundle_home: Path, tmp_path: Path) -> None:
    weights = bundle_home / "image" / "weights.pth"
    lay_efficientnet_lite(read_tensors(weights), LITE2, tmp_path / "image.onnx")
    pixels = RNG.normal(size=(2, 3, 260, 260)).astype(np.float32)
    agree(tmp_path / "image.onnx", load_efficientnet_lite(weights, LITE2), {"pixels": pixels})


def test_features_are_pooled_where_stages_end(bundle_home: Path, tmp_path: Path) -> None:
    weights = bundle_home / "image" / "weights.pth"
    lay_efficientnet_lite(read_tensors(weights), LITE2, tmp_path / "image.onnx", with_features=True)
    network = load_efficientnet_lite(weights, LITE2)
    seen: dict[int, torch.Tensor] = {}

    def note(_: nn.Module, __: object, states: torch.Tensor) -> None:
        seen[states.shape[1]] = states  # the last one with that many channels

    for block in network._blocks:
        block.register_forward_hook(note)
    network._bn1.register_forward_hook(lambda _, __, states: note(_, __, states.clip(0, 6)))
    pixels = RNG.normal(size=(2, 3, 260, 260)).astype(np.float32)
    with torch.inference_mode():
        logits = network(torch.from_numpy(pixels))

    ours = OnnxSession(tmp_path / "image.onnx", n_threads=1).run({"pixels": pixels})

    pooled = [seen[n].mean((2, 3)) for n in (120, 208, 352, 1280)]
    for array, tensor in zip(ours, [logits, *pooled], strict=True):
        np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-3, atol=1e-3)


def test_aisfx(bundle_home: Path, tmp_path: Path) -> None:
    weights = bundle_home / "audio" / "weights.pth"
    lay_aisfx(read_aisfx(weights), tmp_path / "audio.onnx")
    blocks = RNG.random((3, 100, 96), np.float32)
    agree(tmp_path / "audio.onnx", load_aisfx(weights), {"blocks": blocks})


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"_conv_stem\.weight.*width 1\.1"):
        lay_efficientnet_lite({}, LITE2, tmp_path / "image.onnx")
