"""Parts of a model that one kind of input does not need, such as CLIP's vision half for texts.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from encoder.quant.calibration import Batch, forward

_LISTS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)
"""Containers whose modules have fixed positions and must not be removed."""


def set_unused_aside(model: nn.Module, batch: Batch) -> list[str]:
    """Remove the modules whose parameters do not affect a model's output.

    They stay as attributes, so that code that runs or inspects them still works, but are no longer
    registered as modules: they have no layers to quantize, and are not counted or saved.

    Args:
        model: changed in place.
        batch: one call's inputs.

    Returns:
        Names of the removed modules.

    Raises:
        ModelError: the model fails on the batch.
    """
    frozen = [p for p in model.parameters() if p.is_floating_point() and not p.requires_grad]
    for p in frozen:
        p.requires_grad_(True)
    try:
        with torch.enable_grad():
            used = _reached(forward(model, batch))
    finally:
        for p in frozen:
            p.requires_grad_(False)
    return list(_set_aside(model, "", used))


def _reached(output: Tensor) -> set[int]:
    """The parameters that a gradient of the output would reach, by their ids."""
    waiting: list[Any] = [output.grad_fn]
    visited: set[Any] = set()
    reached: set[int] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if (parameter := getattr(node, "variable", None)) is not None:
            reached.add(id(parameter))
        waiting += [following for following, _ in node.next_functions]
    return reached


def _set_aside(module: nn.Module, prefix: str, used: set[int]) -> Iterator[str]:
    for child_name, child in list(module.named_children()):
        name = f"{prefix}.{child_name}" if prefix else child_name
        parameters = [id(parameter) for parameter in child.parameters()]
        if parameters and used.isdisjoint(parameters) and not isinstance(module, _LISTS):
            delattr(module, child_name)
            object.__setattr__(module, child_name, child)
            yield name
        else:
            yield from _set_aside(child, name, used)
