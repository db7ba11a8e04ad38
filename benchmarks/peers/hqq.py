"""HQQ (Badri & Shaji 2023): weights rounded without data, zero points found by iteration."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

_AXIS_OF_GROUP = 1


def round_weights(model: nn.Module, n_bits: int) -> nn.Module:
    """A copy in float32 whose Linear layers, convolutions and embeddings are rounded, each output
    channel a group."""
    rounded = copy.deepcopy(model)
    for module in rounded.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Embedding):
            module.weight.data = _round(module.weight.data, n_bits)
    return rounded


@torch.no_grad()
def _round(weight: Tensor, n_bits: int) -> Tensor:
    from hqq.core.quantize import Quantizer

    rows = weight.flatten(1)
    packed, meta = Quantizer.quantize(
        rows,
        nbits=n_bits,
        group_size=rows.shape[1],
        axis=_AXIS_OF_GROUP,
        bitpack=False,
        device="cpu",
        compute_dtype=torch.float32,
    )
    restored: Tensor = Quantizer.dequantize(packed, meta)
    return restored.reshape(weight.shape).to(weight.dtype)
