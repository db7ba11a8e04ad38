"""A list of networks to quantize, small and with random weights.

Each has what some quantizer stumbles over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Network:
    """One network of the list.

    Args:
        ingredient: what is hard about it.
        make: makes it.
        batches: makes inputs, for when the quantizer asks for them.
        outputs: the output to compare, for when it asks which.
    """

    ingredient: str
    make: Callable[[], nn.Module]
    batches: Callable[[], list[Any]] | None = None
    outputs: str | None = None


NETWORKS: dict[str, Network] = {}


def network(
    ingredient: str, batches: Callable[[], list[Any]] | None = None, outputs: str | None = None
) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
    def add(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        name = make.__name__.replace("_", " ")
        NETWORKS[name] = Network(ingredient, make, batches, outputs)
        return make

    return add


def of(*shape: int, n: int = 4) -> Callable[[], list[Any]]:
    return lambda: [torch.randn(shape) for _ in range(n)]
