"""Find the linear layers of an exported network, whatever exported it."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.network import OnnxNetwork, attribute

if TYPE_CHECKING:
    from onnx import NodeProto

_LEAST_IN, _LEAST_OUT = 16, 8
"""Smaller products are not layers, such as rotary frequencies multiplied by positions."""


@dataclass(frozen=True, eq=False)
class LinearLayer:
    """A layer y = x W^T + b.

    Args:
        name: see `encoder.onnx.linears`.
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


def linears(network: OnnxNetwork) -> Iterator[LinearLayer]:
    """The layers of the main graph whose weights are constants, in the graph's order."""
    for node in network.nodes("MatMul", "Gemm", "FusedMatMul"):
        if layer := _linear(network, node):
            yield layer


def _linear(network: OnnxNetwork, node: NodeProto) -> LinearLayer | None:
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
    return LinearLayer(
        layer_name(node, root.split("|", 1)[0]),
        node,
        states,
        weight,
        f"{root}|{transposed}",
        bias or None,
    )


def _is_plain(node: NodeProto) -> bool:
    plain_values = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transBatchA": 0, "transBatchB": 0}
    return all(attribute(node, name, value) == value for name, value in plain_values.items())


_SCOPES = "pkg.torch.onnx.name_scopes"


def layer_name(node: NodeProto, stored: str) -> str:
    """The path of the layer that a node computes.

    >>> from onnx import helper
    >>> node = helper.make_node("MatMul", ["x", "w"], ["y"], "/layers.0/query/MatMul")
    >>> layer_name(node, "onnx::MatMul_7"), layer_name(node, "layers.0.query.weight")
    ('layers.0.query', 'layers.0.query')
    """
    if stored.endswith(".weight"):
        return stored.removesuffix(".weight")
    scopes = [str(p.value) for p in node.metadata_props if p.key == _SCOPES]
    if scopes and (path := _innermost(scopes[0])):
        return path
    node_name = str(node.name).strip("/")
    if "/" in node_name:  # as TorchScript names nodes
        return node_name.rsplit("/", 1)[0].replace("/", ".")
    return node_name or str(node.output[0])


def _innermost(scopes: str) -> str:
    """The innermost module of a Python-style list: modules from outside in, then the operator."""
    try:
        modules = [str(scope) for scope in literal_eval(scopes)]
    except (ValueError, SyntaxError):
        return ""
    return modules[-2] if len(modules) > 1 else ""
