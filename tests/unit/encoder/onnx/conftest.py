"""One small sentence encoder, written as several exporters write it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from encoder.networks.bert import BertSize, SentenceBert
from encoder.quant.tracing import trace

SIZE = BertSize(vocab_size=4096, n_positions=40, hidden_dim=64, ffn_dim=128, n_layers=2, n_heads=4)
AXES = {"input_ids": (0, 1), "mask": (0, 1)}


@pytest.fixture(scope="session")
def sentence_bert() -> SentenceBert:
    torch.manual_seed(0)
    model = SentenceBert(SIZE).eval()
    with torch.no_grad():  # as if trained: norms of 1 and biases of 0 could be lost unnoticed
        for name, tensor in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                tensor.add_(0.3 * torch.randn_like(tensor))
    return model


@pytest.fixture(scope="session")
def exports(sentence_bert: SentenceBert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ``dynamo.onnx`` and ``torchscript.onnx``."""
    folder = tmp_path_factory.mktemp("exports")
    inputs = {"input_ids": torch.randint(0, 99, (2, 7)), "mask": torch.ones(2, 7)}
    program = trace(sentence_bert, inputs, AXES)
    program.optimize()
    program.save(folder / "dynamo.onnx")
    names = {name: {0: "n", 1: "length"} for name in inputs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            sentence_bert,
            tuple(inputs.values()),
            str(folder / "torchscript.onnx"),
            input_names=list(inputs),
            dynamic_axes=names,
            opset_version=14,
            do_constant_folding=False,
            dynamo=False,
        )
    return folder


def texts(*lengths: int, n_padded: int = 0) -> dict[str, np.ndarray]:
    """A batch of random tokens, padded to the longest and ``n_padded`` more."""
    width = max(lengths) + n_padded
    ids = np.random.default_rng(width).integers(0, SIZE.vocab_size, (len(lengths), width))
    mask = np.stack([np.arange(width) < length for length in lengths]).astype(np.float32)
    return {"input_ids": ids, "mask": mask}
