"""Fold scales and shifts of an ONNX graph into the adjacent convolutions.

Networks that were trained with several branches (RepVGG, Ding et al. 2021; PP-LCNetV3) come with a
scale and a shift after each convolution and after each activation. Folding them changes no result;
left alone, they cost as much as the convolutions.

What cannot be folded can be made cheaper. ONNX Runtime lays out pictures in blocks of channels, for
convolutions and normalizations alike, but converts them back to add a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.network import OnnxNetwork, attribute

if TYPE_CHECKING:
    from onnx import NodeProto

Floats = NDArray[np.float32]

_ACTIVATIONS = ("HardSwish", "Relu")


def fold_affine(network: OnnxNetwork) -> int:
    """Fold what can be folded, in place; return how many operators are gone."""
    after = sum(_fold_after(network, conv) for conv in network.nodes("Conv"))
    return after + sum(_fold_before(network, mul) for mul in network.nodes("Mul"))


def normalize_affine(network: OnnxNetwork) -> int:
    """Turn scales and shifts by a single number into normalizations, in place; return how many.

    Only those after a convolution and its activation, once `fold_affine` has folded the others.
    """
    count = 0
    for node in network.nodes("Mul", "Add"):
        # an earlier one may have taken this node along
        count += network.maker(node.output[0]) is node and _normalize(network, node)
    return count


def _fold_after(network: OnnxNetwork, conv: NodeProto) -> int:
    """Fold whatever scales or shifts a convolution's output by channel into its weights."""
    n_folded = 0
    while _is_constant_conv(network, conv) and (reader := network.only_reader(conv.output[0])):
        weight, bias = _weights(network, conv)
        affine = _affine(network, reader, len(weight))
        if affine is None or reader.output[0] in network.outputs:
            break
        scale, shift = affine
        _put(network, conv, 1, weight * scale[:, None, None, None])
        _put(network, conv, 2, bias * scale + shift)
        network.bypass(reader, conv.output[0])
        n_folded += 1
    return n_folded


def _affine(network: OnnxNetwork, node: NodeProto, n_channels: int) -> tuple[Floats, Floats] | None:
    """The scale and shift by channel that a node applies; None if it does something else."""
    ones, zeros = np.ones(n_channels, np.float32), np.zeros(n_channels, np.float32)
    if node.op_type == "BatchNormalization":
        gamma, beta, mean, variance = (network.array(name) for name in node.input[1:5])
        if gamma is None or beta is None or mean is None or variance is None:
            return None
        scale = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        return scale, beta - mean * scale
    array = _operand(network, node) if node.op_type in ("Mul", "Add") else None
    if array is None or array.size not in (1, n_channels):
        return None
    if array.size > 1 and array.shape[-3:] != (n_channels, 1, 1):
        return None
    values = ones * array.reshape(-1)
    return (values, zeros) if node.op_type == "Mul" else (ones, values)


def _fold_before(network: OnnxNetwork, mul: NodeProto) -> int:
    """Fold a scale, and the shift after it, into the convolutions that read the result.

    Convolutions that pad with zeros still need the shift, divided by the scale.
    """
    scale = _operand(network, mul)
    if scale is None or scale.size != 1 or not scale.any():
        return 0
    add = network.only_reader(mul.output[0], "Add")
    shift = _operand(network, add) if add else np.zeros(1, np.float32)
    if shift is None or shift.size != 1:
        return 0
    output = (add or mul).output[0]
    convs = [] if output in network.outputs else network.readers(output)
    if not convs or not all(_is_constant_conv(network, reader) for reader in convs):
        return 0
    n_folded = 1
    if add and not any(any(attribute(conv, "pads", ())) for conv in convs):
        for conv in convs:
            weight, bias = _weights(network, conv)
            moved = weight.sum(axis=(1, 2, 3)) * float(shift.reshape(-1)[0])
            _put(network, conv, 2, bias + moved)
        network.bypass(add, mul.output[0])
        n_folded = 2
    elif add:
        _put(network, add, 1, shift / scale)
        add.input[0] = mul.output[0]
    for conv in convs:
        _put(network, conv, 1, _weights(network, conv)[0] * float(scale.reshape(-1)[0]))
    network.bypass(mul, _source(network, mul))
    return n_folded


def _normalize(network: OnnxNetwork, node: NodeProto) -> bool:
    """Replace a scale and the shift after it, or one of both; False if it is neither."""
    source = _source(network, node)
    producer = network.maker(source)
    if producer and producer.op_type in _ACTIVATIONS:
        producer = network.maker(producer.input[0])
    if not producer or not _is_constant_conv(network, producer):
        return False
    n_channels = len(_weights(network, producer)[0])
    first = _by_one_number(network, node, n_channels)
    if first is None:
        return False
    scale, shift = first
    reader = network.only_reader(node.output[0], "Mul", "Add")
    second = _by_one_number(network, reader, n_channels) if reader else None
    replaced = [node]
    if reader and second:
        replaced.append(reader)
        scale, shift = scale * second[0], shift * second[0] + second[1]
    output = replaced[-1].output[0]
    network.remove(*replaced)
    arrays = (scale, shift, np.zeros_like(scale), np.ones_like(scale))
    constants = [network.constant(array) for array in arrays]
    network.add("BatchNormalization", source, *constants, output=output, epsilon=0.0)
    return True


def _by_one_number(
    network: OnnxNetwork, node: NodeProto, n_channels: int
) -> tuple[Floats, Floats] | None:
    array = _operand(network, node)
    return _affine(network, node, n_channels) if array is not None and array.size == 1 else None


def _operand(network: OnnxNetwork, node: NodeProto) -> Floats | None:
    """The constant operand of a node with two operands."""
    arrays = [array for name in node.input if (array := network.array(name)) is not None]
    return arrays[0] if len(arrays) == 1 and len(node.input) == 2 else None


def _source(network: OnnxNetwork, node: NodeProto) -> str:
    """The operand that is not constant."""
    return next(str(name) for name in node.input if network.array(name) is None)


def _is_constant_conv(network: OnnxNetwork, node: NodeProto) -> bool:
    return node.op_type == "Conv" and network.array(node.input[1]) is not None


def _weights(network: OnnxNetwork, conv: NodeProto) -> tuple[Floats, Floats]:
    weight = network.array(conv.input[1])
    bias = network.array(conv.input[2]) if len(conv.input) > 2 and conv.input[2] else None
    assert weight is not None
    return weight, np.zeros(len(weight), np.float32) if bias is None else bias


def _put(network: OnnxNetwork, node: NodeProto, index: int, array: Floats) -> None:
    """Set an input of a node to a constant that no other node reads."""
    while len(node.input) <= index:
        node.input.append("")
    node.input[index] = network.constant(array.astype(np.float32))
