"""Static int8 for convolutional networks: an ONNX file that computes in integers.

Activations are uint8 in ranges measured once and stored; weights are int8 with a scale for each
output channel. The file is in QDQ form: ONNX Runtime fuses each ``DequantizeLinear, Conv, Clip,
QuantizeLinear`` into one integer convolution.

The result must not depend on the CPU. AVX2 without VNNI multiplies activations by weights and
adds products in pairs in 16 bits, with saturation. ``255 (w1 + w2)`` fits while no two weights of
the same channel and sign sum to more than 128, so the scale follows from the two greatest: exact
on every CPU, and finer than the usual seven bits (64 for the greatest). Depthwise kernels widen to
32 bits before they multiply: their weights keep all eight bits.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError
from encoder.onnx.activations import (
    WEIGHTED,
    Activation,
    constants,
    find_activations,
    load_folded,
)
from encoder.onnx.ranges import OP_TYPES, Range
from encoder.runtime.base import Array

if TYPE_CHECKING:
    import onnx
    from onnxruntime.quantization.calibrate import TensorsData

_INT8_MAX = 127
_PAIR_MAX = 127.99  # 128, less what float rounding may add


def quantize_static(
    source: Path, target: Path, ranges: Mapping[str, Range], *, keep: Collection[str] = ()
) -> None:
    """Write the int8 form of a convolutional network.

    The outputs of fully connected layers, such as logits, stay float32.

    Args:
        source: a float32 ONNX file.
        target: the ``.onnx`` file to write; its inputs and outputs are those of ``source``.
        ranges: from `activation_ranges`, for this network or another export of it.
        keep: layers that stay float, see `find_activations`.

    Raises:
        InputError: a range is missing, not finite or reversed; a layer to keep is not there.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    model = load_folded(source)
    activations, unfit = find_activations(model, OP_TYPES, keep)
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,  # `weight_scales` does better
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=_tensors_data(activations, ranges),
        nodes_to_quantize=[],
        nodes_to_exclude=sorted(unfit),
        op_types_to_quantize=list(OP_TYPES),
        extra_options={
            "TensorQuantOverrides": _weight_overrides(model),
            "OpTypesToExcludeOutputQuantization": ["Gemm"],
        },
    )
    quantizer.quantize_model()
    quantizer.model.save_model_to_file(str(target))


def logit_agreement(
    reference: Path, quantized: Path, examples: Iterable[Mapping[str, Array]]
) -> float:
    """The least cosine, over examples, of the centred outputs [n, n_classes] of two files.

    Centred, since softmax ignores an offset that all classes share.
    """
    from encoder.runtime.onnx import OnnxSession

    sessions = OnnxSession(reference), OnnxSession(quantized)
    least = 1.0
    for inputs in examples:
        for outputs in zip(*(session.run(inputs) for session in sessions), strict=True):
            a, b = map(_unit_rows, outputs)
            least = min(least, float((a * b).sum(axis=1).min()))
    return least


def weight_scales(weight: NDArray[np.floating], *, n_groups: int = 1) -> NDArray[np.float32]:
    """The scale of each output channel, such that no kernel saturates (see the module).

    Args:
        weight: [n_out, ...], as a convolution has it.
        n_groups: of the convolution.

    Returns:
        float32 [n_out]; 1 where a channel is all zero.
    """
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    scales = np.abs(rows).max(axis=1) / _INT8_MAX
    if not _is_depthwise(weight, n_groups):
        ordered = np.sort(rows, axis=1)
        pairs = np.maximum(ordered[:, -2:].sum(axis=1), -ordered[:, :2].sum(axis=1))
        scales = np.maximum(scales, pairs / _PAIR_MAX)
    # smaller ones would be 0 in float32
    tiny = np.finfo(np.float32).tiny
    return np.where(scales > 0, np.maximum(scales, tiny), 1.0).astype(np.float32)


def _unit_rows(logits: Array) -> Array:
    from encoder.space import l2_normalize

    return l2_normalize(logits - logits.mean(axis=1, keepdims=True))


def _is_depthwise(weight: NDArray[np.floating], n_groups: int) -> bool:
    """Whether each channel of a picture has its own filter: this case has a separate kernel."""
    return weight.ndim == 4 and weight.shape[1] == 1 and n_groups == len(weight) > 1


def _weight_overrides(model: onnx.ModelProto) -> dict[str, list[dict[str, Any]]]:
    """Scales in the form that ONNX Runtime's quantizer takes."""
    weights = constants(model)
    overrides: dict[str, list[dict[str, Any]]] = {}
    for node in model.graph.node:
        if node.op_type not in WEIGHTED or node.input[1] not in weights:
            continue
        given = {attribute.name: attribute for attribute in node.attribute}
        axis = 1 if node.op_type == "Gemm" and not ("transB" in given and given["transB"].i) else 0
        scales = weight_scales(
            np.moveaxis(np.asarray(weights[node.input[1]], np.float32), axis, 0),
            n_groups=given["group"].i if "group" in given else 1,
        )
        overrides[node.input[1]] = [{"scale": scale, "zero_point": 0} for scale in scales]
        overrides[node.input[1]][0]["axis"] = axis
    return overrides


def _tensors_data(activations: list[Activation], ranges: Mapping[str, Range]) -> TensorsData:
    """The ranges in the form that ONNX Runtime's quantizer takes."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData

    found: dict[str, TensorData] = {}
    for activation in activations:
        low, high = _range_of(activation, ranges)
        data = TensorData(lowest=np.float32(low), highest=np.float32(high))
        found[activation.tensor] = data
        if activation.fused:
            found[activation.fused] = data
    return TensorsData(CalibrationMethod.MinMax, found)


def _range_of(activation: Activation, ranges: Mapping[str, Range]) -> Range:
    """The stored range, with zero in it and cut to what a fused Relu or Clip lets through."""
    name = activation.name
    if name not in ranges:
        raise InputError(
            f"ranges[{name!r}]",
            got="nothing",
            wanted="a least and a greatest value; measure them with activation_ranges",
        )
    low, high = ranges[name]
    if not -math.inf < low <= high < math.inf:
        raise InputError(
            f"ranges[{name!r}]", got=f"({low}, {high})", wanted="finite numbers, the least first"
        )
    low, high = min(low, 0.0), max(high, 0.0)
    return max(low, activation.low), min(high, activation.high)
