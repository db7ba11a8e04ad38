"""torch itself: as it comes, and compiled by Inductor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers.base import Inputs, Run


def eager(model: nn.Module, _calibration: Sequence[Inputs]) -> Run:
    """The baseline: float32 in inference mode."""
    return by_keyword(model.eval())


def float32(model: nn.Module, _calibration: Sequence[Inputs]) -> Run:
    """Compiled for each shape, the fastest way for a fixed one."""
    return by_keyword(torch.compile(model.eval(), dynamic=False))


def bfloat16(model: nn.Module, _calibration: Sequence[Inputs]) -> Run:
    """All weights and activations in bfloat16; the output is float32 again."""
    low = copy.deepcopy(model).eval().to(torch.bfloat16)
    run_low = by_keyword(torch.compile(low, dynamic=False))

    def run(inputs: Inputs) -> Tensor:
        return run_low({name: _lower(x) for name, x in inputs.items()}).float()

    return run


def by_keyword(function: Callable[..., Any]) -> Run:
    """Call without gradients, a batch's inputs by keyword."""

    @torch.inference_mode()
    def run(inputs: Inputs) -> Tensor:
        output: Tensor = function(**inputs)
        return output

    return run


def _lower(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16) if x.is_floating_point() else x
