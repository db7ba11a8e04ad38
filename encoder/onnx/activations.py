"""The activations of a convolutional ONNX network, under names that are stable across exports.

Exporters name tensors as they like (``relu6_12``, ``getitem_54``), but keep the names of weights.
So an activation is named after the weight that produced it and the weightless operators since:
``layer1.0.conv1`` is the output of that convolution, ``layer1.0.conv3/Add`` the sum after it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError

if TYPE_CHECKING:
    import onnx

WEIGHTED = ("Conv", "Gemm")
"""Operators whose second input is a weight."""

# ONNX Runtime renames the weights of what it folds
_FOLDED = re.compile(r"^(Conv\w+?Fusion_W_)+")


@dataclass(frozen=True)
class Activation:
    """A float tensor.

    Args:
        name: stable across exports.
        tensor: its name in the graph.
        fused: the tensor before a Relu or Clip that nothing else reads; integer kernels go from
            it to ``tensor`` in one step.
        low, high: what the Relu or Clip lets through.
    """

    name: str
    tensor: str
    fused: str | None = None
    low: float = -math.inf
    high: float = math.inf


def load_folded(source: Path) -> onnx.ModelProto:
    """Load a file with batch norms, constants and explicit pads folded into the convolutions."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as folder:
        path = Path(folder) / "folded.onnx"
        quant_pre_process(str(source), str(path), skip_symbolic_shape=True)
        model: onnx.ModelProto = onnx.load(path)
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    return model


def constants(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    """The initializers by name."""
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def find_activations(
    model: onnx.ModelProto, op_types: Collection[str], keep: Collection[str] = ()
) -> tuple[list[Activation], set[str]]:
    """The tensors that operators of these types read and write.

    Args:
        model: loaded by `load_folded`.
        op_types: of the operators.
        keep: layers that stay float, by the names of their activations or by prefixes of these:
            ``head`` is ``head.0`` and ``head.0/Add`` too.

    Returns:
        The activations, and the names of nodes that must stay float: those of ``keep``, and any
        Clip that cannot be left out once its output is integer. One with constant bounds that
        have zero between them can.

    Raises:
        InputError: a layer to keep is not there.
    """
    values = constants(model)
    names = _names(model, values)
    kept = _kept(model, names, keep)
    wanted = _float_tensors(model) & {
        tensor
        for node in model.graph.node
        if node.op_type in op_types and node.name not in kept
        for tensor in (*node.input, *node.output)
    }
    bounds = {node.name: _bounds(node, values) for node in model.graph.node}
    unfit = kept | {name for name, (low, high) in bounds.items() if not low <= 0 <= high}
    found = {}
    for tensor in names:
        if tensor in wanted:
            found[tensor] = Activation(names[tensor], tensor)
    for node in _fusable(model):
        if node.name not in unfit and node.input[0] in found:
            before = found.pop(node.input[0])
            low, high = bounds[node.name]
            found[node.output[0]] = Activation(
                before.name, node.output[0], before.tensor, low, high
            )
    return list(found.values()), unfit


def _kept(model: onnx.ModelProto, names: Mapping[str, str], keep: Collection[str]) -> set[str]:
    """The nodes of the layers to keep."""
    found: set[str] = set()
    for layer in keep:
        starts = (f"{layer}.", f"{layer}/", f"{layer}#")
        nodes = {
            node.name
            for node in model.graph.node
            if names[node.output[0]] == layer or names[node.output[0]].startswith(starts)
        }
        if not nodes:
            raise InputError("keep", got=repr(layer), wanted="a layer of the network")
        found |= nodes
    return found


def _fusable(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Each Relu and Clip that is the only reader of its input."""
    readers = Counter(tensor for node in model.graph.node for tensor in node.input)
    fixed = {value.name for value in (*model.graph.input, *model.graph.output)}
    return [
        node
        for node in model.graph.node
        if node.op_type in ("Relu", "Clip")
        and readers[node.input[0]] == 1
        and node.input[0] not in fixed
    ]


def _bounds(node: onnx.NodeProto, values: Mapping[str, NDArray[np.generic]]) -> tuple[float, float]:
    """The range that a node lets through; NaN where that is not constant."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    limits = [-math.inf, math.inf]
    if node.op_type == "Clip":
        for index, tensor in enumerate(node.input[1:]):
            if tensor:
                limits[index] = float(values[tensor]) if tensor in values else math.nan
    return limits[0], limits[1]


def _names(model: onnx.ModelProto, values: Collection[str]) -> dict[str, str]:
    names = {value.name: value.name for value in model.graph.input}
    taken = Counter(names.values())
    for node in model.graph.node:
        stem = _stem(node, names, values)
        for output in node.output:
            taken[stem] += 1
            names[output] = stem if taken[stem] == 1 else f"{stem}#{taken[stem]}"
    return names


def _stem(node: onnx.NodeProto, names: Mapping[str, str], values: Collection[str]) -> str:
    if node.op_type in WEIGHTED and node.input[1] in values:
        return _FOLDED.sub("", node.input[1]).removesuffix(".weight")
    first = next((names[tensor] for tensor in node.input if tensor in names), "")
    return f"{first}/{node.op_type}"


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    from onnx import TensorProto

    graph = model.graph
    return {
        value.name
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
