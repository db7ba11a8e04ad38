"""OpenVINO's NNCF: weights of torch models in 4 bits, a scale for each group."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from benchmarks.peers.base import Inputs


@torch.no_grad()
def round_weights(
    model: nn.Module, calibration: Sequence[Inputs], n_bits: int, group_size: int | None = None
) -> nn.Module:
    """See `benchmarks.peers.base.RoundWeights`; Linear and Embedding, in 4 bits only.

    With AWQ (Lin et al. 2023) where it finds a layer to scale, and scales estimated from the
    outputs of each layer. The model that it returns expands its weights in each forward pass.
    """
    import nncf

    assert n_bits == 4, n_bits
    compressed: nn.Module = nncf.compress_weights(
        copy.deepcopy(model).eval(),
        mode=nncf.CompressWeightsMode.INT4_SYM,
        group_size=group_size or -1,
        all_layers=True,
        dataset=nncf.Dataset(list(calibration), dict),
        awq=True,
        scale_estimation=True,
    )
    return compressed
