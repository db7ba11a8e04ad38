"""Fold scales and shifts of an ONNX graph into the adjacent convolutions.

Networks that were trained with several branches (RepVGG, Ding et al. 2021; PP-LCNetV3) come with a
scale and a shift after each convolution and after each activation. Folding them changes no result;
left alone, they cost as much as the convolutions.

What cannot be folded can be made cheaper. ONNX Runtime lays out pictures in blocks of channels, for
convolutions and normalizations alike, but converts them back to add a number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

Floats = NDArray[np.float32]

_ACTIVATIONS = ("HardSwish", "Relu")


def fold_affine(model: ModelProto) -> int:
    """Fold what can be folded, in place; return how many operators are gone.

    Weights may be ``Constant`` nodes or initializers.
    """
    graph = _Graph(model)
    before = len(graph.nodes)
    for node in list(graph.nodes.values()):
        if node.op_type == "Conv":
            _fold_after(graph, node)
    for node in list(graph.nodes.values()):
        if node.op_type == "Mul":
            _fold_before(graph, node)
    graph.write()
    return before - len(graph.nodes)


def normalize_affine(model: ModelProto) -> int:
    """Turn scales and shifts by a single number into normalizations, in place; return how many.

    Only those after a convolution and its activation, once `fold_affine` has folded the others.
    """
    graph = _Graph(model)
    found = [node for node in list(graph.nodes.values()) if _normalize(graph, node)]
    graph.write()
    return len(found)


class _Graph:
    """The nodes that compute, by their output, and the arrays that are constant."""

    def __init__(self, model: ModelProto) -> None:
        self._model = model
        self.arrays = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
        self.nodes: dict[str, NodeProto] = {}
        for node in model.graph.node:
            if not self._is_constant(node):
                self.nodes[node.output[0]] = node
        self._outputs = {one.name for one in model.graph.output}

    def _is_constant(self, node: NodeProto) -> bool:
        """Record a constant, or a constant that is reshaped; False for any other node."""
        if node.op_type == "Constant":
            self.arrays[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Reshape" and all(name in self.arrays for name in node.input):
            array, shape = (self.arrays[name] for name in node.input)
            self.arrays[node.output[0]] = array.reshape(shape)
        else:
            return False
        return True

    def users(self, name: str) -> list[NodeProto]:
        """The nodes that read a value; none for an output of the whole graph."""
        if name in self._outputs:
            return []
        return [node for node in self.nodes.values() if name in node.input]

    def constant(self, node: NodeProto) -> Floats | None:
        """The constant operand of a node with two operands."""
        found = [self.arrays[name] for name in node.input if name in self.arrays]
        return found[0] if len(found) == 1 and len(node.input) == 2 else None

    def put(self, node: NodeProto, place: int, array: Floats) -> None:
        """Set an input of a node to an array that no other node reads."""
        name = f"{node.output[0]}:{place}"
        self.arrays[name] = array.astype(np.float32)
        while len(node.input) <= place:
            node.input.append("")
        node.input[place] = name

    def drop(self, node: NodeProto, instead: str) -> None:
        """Remove a node; nodes that read its output read ``instead``."""
        del self.nodes[node.output[0]]
        for user in self.nodes.values():
            user.input[:] = [instead if name == node.output[0] else name for name in user.input]

    def write(self) -> None:
        used = {name for node in self.nodes.values() for name in node.input}
        arrays = {name: array for name, array in self.arrays.items() if name in used}
        graph = self._model.graph
        del graph.node[:], graph.initializer[:]
        graph.node.extend(self.nodes.values())
        graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in arrays.items())


def _fold_after(graph: _Graph, conv: NodeProto) -> None:
    """Fold whatever scales or shifts a convolution's output by channel into its weights."""
    if conv.input[1] not in graph.arrays:
        return
    while len(users := graph.users(conv.output[0])) == 1:
        weight, bias = _weights(graph, conv)
        affine = _affine(graph, users[0], len(weight))
        if affine is None:
            return
        scale, shift = affine
        graph.put(conv, 1, weight * scale[:, None, None, None])
        graph.put(conv, 2, bias * scale + shift)
        graph.drop(users[0], conv.output[0])


def _affine(graph: _Graph, node: NodeProto, n_channels: int) -> tuple[Floats, Floats] | None:
    """The scale and shift by channel that a node applies; None if it does something else."""
    one, zero = np.ones(n_channels, np.float32), np.zeros(n_channels, np.float32)
    if node.op_type == "BatchNormalization":
        gamma, beta, mean, variance = (graph.arrays[name] for name in node.input[1:5])
        scale = gamma / np.sqrt(variance + _epsilon(node))
        return scale, beta - mean * scale
    array = graph.constant(node) if node.op_type in ("Mul", "Add") else None
    if array is None or array.size not in (1, n_channels) or not _is_by_channel(array, n_channels):
        return None
    values = one * array.reshape(-1)
    return (values, zero) if node.op_type == "Mul" else (one, values)


def _is_by_channel(array: Floats, n_channels: int) -> bool:
    return array.size == 1 or (array.ndim >= 3 and array.shape[-3:] == (n_channels, 1, 1))


def _fold_before(graph: _Graph, mul: NodeProto) -> None:
    """Fold a scale, and the shift after it, into the convolutions that read the result.

    Convolutions that pad with zeros still need the shift, divided by the scale.
    """
    scale = graph.constant(mul)
    if scale is None or scale.size != 1 or not scale.any():
        return
    (source,) = (name for name in mul.input if name not in graph.arrays)
    users = graph.users(mul.output[0])
    add = users[0] if [one.op_type for one in users] == ["Add"] else None
    shift = graph.constant(add) if add else np.zeros(1, np.float32)
    if shift is None or shift.size != 1:
        return
    convs = graph.users(add.output[0]) if add else users
    if not convs or not all(_takes(graph, one) for one in convs):
        return
    if add and not any(_pads(one) for one in convs):
        for conv in convs:
            weight, bias = _weights(graph, conv)
            graph.put(conv, 2, bias + weight.sum(axis=(1, 2, 3)) * float(shift.reshape(-1)[0]))
        graph.drop(add, mul.output[0])
    elif add:
        graph.put(add, 1, shift / scale)
        add.input[0] = mul.output[0]
    for conv in convs:
        graph.put(conv, 1, _weights(graph, conv)[0] * float(scale.reshape(-1)[0]))
    graph.drop(mul, source)


def _normalize(graph: _Graph, node: NodeProto) -> bool:
    """Replace a scale and the shift after it, or one of both; False if it is neither."""
    n_channels = _n_channels(graph, node)
    first = _by_one_number(graph, node, n_channels)
    if first is None:
        return False
    (source,) = (name for name in node.input if name not in graph.arrays)
    scale, shift = first
    users = graph.users(node.output[0])
    second = _by_one_number(graph, users[0], n_channels) if len(users) == 1 else None
    if second is not None:
        graph.drop(node, source)
        node = users[0]
        scale, shift = scale * second[0], shift * second[0] + second[1]
    name = node.output[0]
    node.CopyFrom(helper.make_node("BatchNormalization", [source], [name], epsilon=0.0))
    for place, array in enumerate((scale, shift, np.zeros_like(scale), np.ones_like(scale)), 1):
        graph.put(node, place, array)
    return True


def _n_channels(graph: _Graph, node: NodeProto) -> int:
    """The channels of the convolution or activation that a node reads; 0 if it reads neither."""
    sources = [name for name in node.input if name in graph.nodes]
    before = graph.nodes[sources[0]] if sources else None
    if before and before.op_type in _ACTIVATIONS:
        before = graph.nodes.get(before.input[0])
    return len(graph.arrays[before.input[1]]) if before and _takes(graph, before) else 0


def _by_one_number(graph: _Graph, node: NodeProto, n_channels: int) -> tuple[Floats, Floats] | None:
    array = graph.constant(node) if n_channels and node.op_type in ("Mul", "Add") else None
    return _affine(graph, node, n_channels) if array is not None and array.size == 1 else None


def _epsilon(normalization: NodeProto) -> float:
    return next((one.f for one in normalization.attribute if one.name == "epsilon"), 1e-5)


def _takes(graph: _Graph, node: NodeProto) -> bool:
    return node.op_type == "Conv" and node.input[1] in graph.arrays


def _weights(graph: _Graph, conv: NodeProto) -> tuple[Floats, Floats]:
    weight = graph.arrays[conv.input[1]]
    has_bias = len(conv.input) > 2 and conv.input[2]
    return weight, graph.arrays[conv.input[2]] if has_bias else np.zeros(len(weight), np.float32)


def _pads(conv: NodeProto) -> bool:
    return any(any(one.ints) for one in conv.attribute if one.name == "pads")
