"""Torch modules as ONNX files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from encoder.quant.tracing import trace


def export(
    module: nn.Module,
    example: Mapping[str, np.ndarray],
    path: Path,
    dynamic_axes: Mapping[str, Sequence[int]],
) -> None:
    """Write ``path``; the dynamic axes of ``example`` must exceed 1."""
    tensors = {name: torch.from_numpy(array) for name, array in example.items()}
    program = trace(module, tensors, dynamic_axes)
    program.optimize()
    program.save(path)
