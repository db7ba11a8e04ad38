"""HQQ (Badri & Shaji 2023): weights rounded without data, zero points found by iteration."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks.peers.base import Inputs

_AXIS_OF_GROUP = 1


def round_weights(
    model: nn.Module, _calibration: Sequence[Inputs], n_bits: int, group_size: int | None = None
) -> nn.Module:
    """See `benchmarks.peers.base.RoundWeights`; for Linear, convolutions and Embedding.

    Where the group size does not divide a channel, the whole channel is one group.
    """
    rounded = copy.deepcopy(model)
    for module in rounded.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Embedding):
            module.weight.data = _round(module.weight.data, n_bits, group_size)
    return rounded


@torch.no_grad()
def _round(weight: Tensor, n_bits: int, group_size: int | None) -> Tensor:
    from hqq.core.quantize import Quantizer

    rows = weight.flatten(1)
    fits = group_size is not None and rows.shape[1] % group_size == 0
    packed, meta = Quantizer.quantize(
        rows,
        nbits=n_bits,
        group_size=group_size if fits else rows.shape[1],
        axis=_AXIS_OF_GROUP,
        bitpack=False,
        device="cpu",
        compute_dtype=torch.float32,
    )
    restored: Tensor = Quantizer.dequantize(packed, meta)
    return restored.reshape(weight.shape).to(weight.dtype)
