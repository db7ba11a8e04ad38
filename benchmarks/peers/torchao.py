"""torchao: int8 Linear layers, activations quantized as they come; convolutions stay float."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from benchmarks.peers.base import Inputs, Run
from benchmarks.peers.torch_compile import by_keyword


def int8_dynamic(model: nn.Module, _calibration: Sequence[Inputs]) -> Run:
    """``quantize_`` with its defaults, and ``torch.compile``.

    ``reduce_range``, meant for CPUs without VNNI, was measured there: MiniLM's cosine to float32
    falls from .995 to .984 on one batch, and it is no faster.
    """
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    quantized = copy.deepcopy(model).eval()
    quantize_(quantized, Int8DynamicActivationInt8WeightConfig())
    return by_keyword(torch.compile(quantized, dynamic=False))
