"""Static int8 for convolutional networks: an ONNX file that computes in integers.

Activations are uint8 in ranges measured once and stored; weights are int8 with a scale for each
output channel. The file is in QDQ form: ONNX Runtime fuses each ``DequantizeLinear, Conv, Clip,
QuantizeLinear`` into one integer convolution.

The result must not depend on the CPU. AVX2 without VNNI multiplies activations by weights and
adds products in pairs in 16 bits, with saturation. ``255 (w1 + w2)`` fits while no two weights of
the same channel and sign sum to more than 128, so the scale follows from the two greatest: exact
on every CPU, and finer than the usual seven bits (64 for the greatest). Depthwise kernels widen to
32 bits before they multiply: their weights keep all eight bits.

Exporters name tensors as they like (``relu6_12``, ``getitem_54``), but keep the names of weights.
So an activation is named after the weight that produced it and the weightless operators since:
``layer1.0.conv1`` is the output of that convolution, ``layer1.0.conv3/Add`` the sum after it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError, ModelError
from encoder.runtime.base import Array

if TYPE_CHECKING:
    import onnx
    from onnxruntime.quantization.calibrate import TensorsData

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
    float_nodes = _kept(model, names, keep)
    tensors = _float_tensors(model) & {
        tensor
        for node in model.graph.node
        if node.op_type in op_types and node.name not in float_nodes
        for tensor in (*node.input, *node.output)
    }
    bounds = {node.name: _bounds(node, values) for node in model.graph.node}
    unfit = float_nodes | {name for name, (low, high) in bounds.items() if not low <= 0 <= high}
    activations = {}
    for tensor in names:
        if tensor in tensors:
            activations[tensor] = Activation(names[tensor], tensor)
    for node in _fusable(model):
        if node.name not in unfit and node.input[0] in activations:
            activation = activations.pop(node.input[0])
            low, high = bounds[node.name]
            activations[node.output[0]] = Activation(
                activation.name, node.output[0], activation.tensor, low, high
            )
    return list(activations.values()), unfit


def _kept(model: onnx.ModelProto, names: Mapping[str, str], keep: Collection[str]) -> set[str]:
    """The nodes of the layers to keep."""
    nodes_to_keep: set[str] = set()
    for layer in keep:
        starts = (f"{layer}.", f"{layer}/", f"{layer}#")
        nodes = {
            node.name
            for node in model.graph.node
            if names[node.output[0]] == layer or names[node.output[0]].startswith(starts)
        }
        if not nodes:
            raise InputError("keep", got=repr(layer), wanted="a layer of the network")
        nodes_to_keep |= nodes
    return nodes_to_keep


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


Range: TypeAlias = tuple[float, float]
"""Least and greatest value, with zero between them."""

OP_TYPES = (
    *WEIGHTED,
    *("Add", "Clip", "Relu", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool"),
    *("Flatten", "Reshape", "Pad"),
)
"""Operators that compute in integers; all others stay float."""

_N_BINS = 8192


def activation_ranges(
    source: Path,
    examples: Sequence[Mapping[str, Array]],
    *,
    keep: Collection[str] = (),
    beyond: float = 0.0,
) -> dict[str, Range]:
    """Measure the range of each activation.

    On EfficientNet-Lite2 the least and the greatest value (``beyond=0``) are as good as the 99.99
    and 99.999 percentiles and ranges of least squared error, and the 99.9 percentile is far worse.
    On aiSFX the 99.999 percentile is best (``scripts/fit_activation_ranges.py``).

    Args:
        source: a float32 ONNX file.
        examples: inputs by name; a hundred typical ones are enough.
        keep: layers that stay float, see `find_activations`.
        beyond: the share of an activation's values that may lie beyond each end of its range,
            so that a few large ones do not make the steps coarse for all; they are clipped.

    Returns:
        Ranges by names that other exports of the same network share
        (`encoder.onnx.static`).

    Raises:
        InputError: there are no examples, or a layer to keep is not there.
        ModelError: an activation is not finite.
    """
    model = load_folded(source)
    activations, _ = find_activations(model, OP_TYPES, keep)
    ranges: dict[str, Range] = {}
    for tensors in _observe(model, activations, examples):
        for activation in activations:
            widest = ranges.get(activation.name, (0.0, 0.0))
            ranges[activation.name] = _widened(
                widest, tensors[activation.tensor], activation, source
            )
    if not ranges:
        raise InputError("examples", got="none", wanted="inputs of the network, by name")
    return _narrowed(ranges, model, activations, examples, beyond) if beyond else ranges


def quantiles(counts: NDArray[np.int64], within: Range, beyond: float) -> Range:
    """The range that leaves at most a share of the values outside on each side.

    Args:
        counts: how many values are in each bin; bins have equal widths.
        within: where the first bin begins and the last ends.
        beyond: the share.

    Returns:
        Ends of bins, or zero where that is further out.
    """
    edges = np.linspace(*within, len(counts) + 1)
    spare = beyond * counts.sum()
    n_low = int((np.cumsum(counts) <= spare).sum())
    n_high = int((np.cumsum(counts[::-1]) <= spare).sum())
    return min(0.0, float(edges[n_low])), max(0.0, float(edges[::-1][n_high]))


def _narrowed(
    ranges: Mapping[str, Range],
    model: onnx.ModelProto,
    activations: list[Activation],
    examples: Iterable[Mapping[str, Array]],
    beyond: float,
) -> dict[str, Range]:
    """Run the examples again and narrow the ranges by counting values in bins."""
    counts = {name: np.zeros(_N_BINS, np.int64) for name in ranges}
    for tensors in _observe(model, activations, examples):
        for activation in activations:
            name = activation.name
            histogram, _ = np.histogram(tensors[activation.tensor], _N_BINS, ranges[name])
            counts[name] += histogram
    return {name: quantiles(counts[name], within, beyond) for name, within in ranges.items()}


def _observe(
    model: onnx.ModelProto,
    activations: list[Activation],
    examples: Iterable[Mapping[str, Array]],
) -> Iterator[dict[str, Array]]:
    """Run the examples; yield the inputs and every activation of each, by tensor name."""
    import onnx

    from encoder.runtime.onnx import OnnxSession

    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    outputs = observed.graph.output
    existing = {value.name for value in (*observed.graph.input, *outputs)}
    values = {value.name: value for value in observed.graph.value_info}
    outputs.extend(values[a.tensor] for a in activations if a.tensor not in existing)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "observed.onnx"
        onnx.save(observed, path)
        session = OnnxSession(path)
    names = [value.name for value in outputs]
    for inputs in examples:
        yield {**inputs, **dict(zip(names, session.run(inputs), strict=True))}


def _widened(widest: Range, array: Array, activation: Activation, source: Path) -> Range:
    low, high = float(array.min()), float(array.max())
    if not math.isfinite(low) or not math.isfinite(high):
        raise ModelError(
            f"{source}: {activation.name} is not finite on an example.",
            remedy="Look for NaN in the example and in the weights.",
        )
    return min(widest[0], low), max(widest[1], high)


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
    from encoder.space import l2_normalize

    sessions = OnnxSession(reference), OnnxSession(quantized)
    least = 1.0
    for inputs in examples:
        for outputs in zip(*(session.run(inputs) for session in sessions), strict=True):
            a, b = (l2_normalize(rows - rows.mean(axis=1, keepdims=True)) for rows in outputs)
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
    # where each channel of a picture has its own filter there is a separate kernel
    is_depthwise = weight.ndim == 4 and weight.shape[1] == 1 and n_groups == len(weight) > 1
    if not is_depthwise:
        ordered = np.sort(rows, axis=1)
        pairs = np.maximum(ordered[:, -2:].sum(axis=1), -ordered[:, :2].sum(axis=1))
        scales = np.maximum(scales, pairs / _PAIR_MAX)
    # smaller ones would be 0 in float32
    tiny = np.finfo(np.float32).tiny
    return np.where(scales > 0, np.maximum(scales, tiny), 1.0).astype(np.float32)


def _weight_overrides(model: onnx.ModelProto) -> dict[str, list[dict[str, Any]]]:
    """Scales in the form that ONNX Runtime's quantizer takes."""
    weights = constants(model)
    overrides: dict[str, list[dict[str, Any]]] = {}
    for node in model.graph.node:
        if node.op_type not in WEIGHTED or node.input[1] not in weights:
            continue
        settings = {a.name: a for a in node.attribute}
        axis = (
            1
            if node.op_type == "Gemm" and not ("transB" in settings and settings["transB"].i)
            else 0
        )
        scales = weight_scales(
            np.moveaxis(np.asarray(weights[node.input[1]], np.float32), axis, 0),
            n_groups=settings["group"].i if "group" in settings else 1,
        )
        overrides[node.input[1]] = [{"scale": scale, "zero_point": 0} for scale in scales]
        overrides[node.input[1]][0]["axis"] = axis
    return overrides


def _tensors_data(activations: list[Activation], ranges: Mapping[str, Range]) -> TensorsData:
    """The ranges in the form that ONNX Runtime's quantizer takes."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData

    by_tensor: dict[str, TensorData] = {}
    for activation in activations:
        low, high = _range_of(activation, ranges)
        data = TensorData(lowest=np.float32(low), highest=np.float32(high))
        by_tensor[activation.tensor] = data
        if activation.fused:
            by_tensor[activation.fused] = data
    return TensorsData(CalibrationMethod.MinMax, by_tensor)


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
