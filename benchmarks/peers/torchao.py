"""torchao: int8 Linear layers, activations quantized as they come; convolutions stay float."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from benchmarks.peers.base import Inputs, Run
from benchmarks.peers.torch_compile import by_keyword


def int8_dynamic(model: nn.Module, _calibration: Sequence[Inputs]) -> Run:
    """``quantize_`` and ``torch.compile``; the range is reduced where the CPU would overflow."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
    from torchao.utils import should_reduce_range

    quantized = copy.deepcopy(model).eval()
    reduce_range = should_reduce_range(torch.device("cpu"))
    quantize_(quantized, Int8DynamicActivationInt8WeightConfig(reduce_range=reduce_range))
    return by_keyword(torch.compile(quantized, dynamic=False))
