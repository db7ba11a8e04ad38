"""Parts of a model that one kind of input does not need, such as CLIP's vision half for texts.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from encoder.quant.sensitivity.calibration import Batch, forward

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
    frozen = [
        one for one in model.parameters() if one.is_floating_point() and not one.requires_grad
    ]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            used = _reached(forward(model, batch))
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
    return list(_set_aside(model, "", used))


def _reached(output: Tensor) -> set[int]:
    """The parameters that a gradient of the output would reach, by their ids."""
    waiting: list[Any] = [output.grad_fn]
    seen: set[Any] = set()
    found: set[int] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (parameter := getattr(node, "variable", None)) is not None:
            found.add(id(parameter))
        waiting += [following for following, _ in node.next_functions]
    return found


def _set_aside(module: nn.Module, prefix: str, used: set[int]) -> Iterator[str]:
    for own, child in list(module.named_children()):
        name = f"{prefix}.{own}" if prefix else own
        parameters = [id(parameter) for parameter in child.parameters()]
        if parameters and used.isdisjoint(parameters) and not isinstance(module, _LISTS):
            delattr(module, own)
            object.__setattr__(module, own, child)
            yield name
        else:
            yield from _set_aside(child, name, used)
