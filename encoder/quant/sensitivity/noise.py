"""Inputs for a model of which nobody gave any: noise in the shape that its first layer takes.

Importing this imports torch.
"""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn

from encoder.errors import ModelError
from encoder.quant.sensitivity.calibration import Batch, CalibrationData, run

_N_BATCHES, _N_ITEMS = 4, 8
_N_TOKENS = 32
_SIDES = {nn.Conv1d: (1024,), nn.Conv2d: (64, 64), nn.Conv3d: (8, 64, 64)}


def noise(model: nn.Module) -> CalibrationData | None:
    """Random tokens, vectors, pictures or waves; None if the model does not take them.

    Enough to rank layers roughly: real inputs rank them better, and real losses are others.
    """
    first = next((m for m in model.modules() if isinstance(m, _KNOWN)), None)
    if first is None:
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        batches = [_batch(model, first) for _ in range(_N_BATCHES)]
    try:
        run(model, batches[0])
    except ModelError:
        return None
    return CalibrationData.split(batches)


_KNOWN = (nn.Embedding, nn.Linear, *_SIDES)


def _batch(model: nn.Module, first: nn.Module) -> Batch:
    x = _values(first)
    parameters = inspect.signature(model.forward).parameters
    if "input_ids" not in parameters or x.is_floating_point():
        return x
    masks = {
        name: torch.ones_like(x) if name == "attention_mask" else torch.ones(x.shape)
        for name, parameter in parameters.items()
        if name == "attention_mask" or ("mask" in name and parameter.default is parameter.empty)
    }
    return {"input_ids": x, **masks}


def _values(first: nn.Module) -> Tensor:
    if isinstance(first, nn.Embedding):
        return torch.randint(first.num_embeddings, (_N_ITEMS, _N_TOKENS))
    if isinstance(first, nn.Linear):
        return torch.randn(_N_ITEMS, first.in_features)
    sides = next(sides for kind, sides in _SIDES.items() if isinstance(first, kind))
    return torch.randn(_N_ITEMS, int(getattr(first, "in_channels")), *sides)  # noqa: B009
