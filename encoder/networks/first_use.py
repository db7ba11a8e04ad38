"""Linear layers that are changed when their part of a network first runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

Change = Callable[[nn.Linear], nn.Module]


class PackedLinear(nn.Module):
    """A linear layer in float32 on the CPU, with its weight laid out for oneDNN.

    MKL, which torch uses for float32, does not make full use of some processors. The results are
    the same except for the order of additions.

    Args:
        linear: what it computes; its weight is copied.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        # An opaque tensor: not a parameter, so that nothing tries to move or to save it.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """What ``linear`` gives: float32 [..., in_features] to [..., out_features]."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return y


def to_bf16(linear: nn.Linear) -> nn.Module:
    """The layer with its weights in bfloat16, for a network that runs under autocast."""
    return linear.to(torch.bfloat16)


def change_on_first_use(network: nn.Module, change: Change) -> None:
    """Change the linear layers of each module just before it first runs.

    So towers that a process never uses are not even read from their file. Safe to use from
    several threads.
    """
    lock = Lock()
    for module in network.modules():
        if any(_linears(module)):
            _change_before(module, change, lock)


def shapes(network: nn.Module) -> list[nn.Linear]:
    """One linear layer for each shape that the network has."""
    by_shape = {
        linear.weight.shape: linear
        for module in network.modules()
        for _, linear in _linears(module)
    }
    return [by_shape[shape] for shape in sorted(by_shape)]


def _change_before(module: nn.Module, change: Change, lock: Lock) -> None:
    def before(module: nn.Module, _: Any) -> None:
        # Changed weights must outlive the call, which may run in inference mode.
        with lock, torch.inference_mode(False), torch.no_grad():
            for name, linear in list(_linears(module)):
                setattr(module, name, change(linear))
            handle.remove()

    handle = module.register_forward_pre_hook(before)


def _linears(module: nn.Module) -> Iterable[tuple[str, nn.Linear]]:
    # Subclasses are there to be treated differently.
    return ((name, child) for name, child in module.named_children() if type(child) is nn.Linear)
