"""Find the linear layers of an exported network, whatever exported it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.names import layer_name
from encoder.onnx.network import Network, attribute

if TYPE_CHECKING:
    from onnx import NodeProto

_LEAST_IN, _LEAST_OUT = 16, 8
"""Smaller products are not layers, such as rotary frequencies multiplied by positions."""


@dataclass(frozen=True, eq=False)
class Linear:
    """A layer y = x W^T + b.

    Args:
        name: see `encoder.onnx.names`.
        node: the node that computes it.
        states: the value x, [..., n_in].
        weight: float [n_out, n_in], a view of the stored one.
        shared: a key that is equal for layers that read the same weight in the same way.
        bias: the value b, if the node adds one itself.
    """

    name: str
    node: NodeProto
    states: str
    weight: NDArray[Any]
    shared: str
    bias: str | None = None


def linears(network: Network) -> Iterator[Linear]:
    """The layers of the main graph whose weights are constants, in the graph's order."""
    for node in network.nodes("MatMul", "Gemm", "FusedMatMul"):
        if found := _linear(network, node):
            yield found


def _linear(network: Network, node: NodeProto) -> Linear | None:
    states, stored = node.input[0], node.input[1]
    if not _is_plain(node) or network.array(states) is not None:
        return None
    weight = network.array(stored)
    if weight is None or weight.dtype != np.float32 or weight.ndim < 2:
        return None
    if weight.ndim > 2:
        if weight.size != weight.shape[-1] * weight.shape[-2]:
            return None
        weight = weight.reshape(weight.shape[-2:])
    transposed = bool(attribute(node, "transB", 0))
    weight = weight if transposed else weight.T
    if weight.shape[1] < _LEAST_IN or weight.shape[0] < _LEAST_OUT:
        return None
    root = network.root(stored)
    bias = node.input[2] if node.op_type == "Gemm" and len(node.input) > 2 else None
    return Linear(
        layer_name(node, root.split("|", 1)[0]),
        node,
        states,
        weight,
        f"{root}|{transposed}",
        bias or None,
    )


def _is_plain(node: NodeProto) -> bool:
    wanted = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transBatchA": 0, "transBatchB": 0}
    return all(attribute(node, name, value) == value for name, value in wanted.items())
