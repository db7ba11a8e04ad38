"""YAMNet, which tells 521 classes of sound, from a file that rounds its activations to 8 bits.

Its weights are float32 there; `QuantizeLinear` and `DequantizeLinear` around each layer say in
which ranges activations lie. The layers are laid again without them; the int8 network is
`encoder.onnx.static`'s, in the same ranges.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from encoder.errors import ModelError
from encoder.onnx.graph import Graph
from encoder.onnx.pth import Tensors
from encoder.onnx.static import Range

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

N_CLASSES, N_FEATURES = 521, 1024
PATCH_FRAMES, N_BANDS = 96, 64
_N_LAYERS = 27
_CODES = (0, 255)


@dataclass(frozen=True)
class YamnetLayers:
    """What the file says.

    Args:
        weights: ``0.weight``, ``0.bias`` and so on for the convolutions, ``head.weight`` and
            ``head.bias``.
        settings: strides, pads and groups of each convolution.
        ranges: of activations, as `encoder.onnx.static` names them.
    """

    weights: Tensors
    settings: list[dict[str, Any]]
    ranges: dict[str, Range]


def read_yamnet(archive: Path) -> YamnetLayers:
    """Read a zip of one ``.onnx`` file and its data; a ModelError if it is not this network."""
    import onnx

    with TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(folder)
            (path,) = Path(folder).rglob("*.onnx")
            model = onnx.load(path)
        # protobuf's errors share no base class below Exception
        except Exception as error:
            raise _not_yamnet(archive, str(error)) from error
    try:
        return _layers(model)
    except (KeyError, ValueError, StopIteration) as error:
        raise _not_yamnet(archive, repr(error)) from error


def _not_yamnet(archive: Path, why: str) -> ModelError:
    return ModelError(
        f"{archive} is not the YAMNet that was expected: {why}.",
        remedy="Run `anymodal bundle fetch`.",
    )


def _layers(model: ModelProto) -> YamnetLayers:
    from onnx import helper, numpy_helper

    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    rounded = {node.input[0]: node for node in model.graph.node if node.op_type == "QuantizeLinear"}
    makers = {node.output[0]: node for node in model.graph.node}

    def weight(name: str) -> Any:
        while name not in tensors:
            name = makers[name].input[0]
        return tensors[name]

    def range_of(rounding: NodeProto) -> Range:
        scale, zero = (tensors[name] for name in rounding.input[1:])
        low, high = (float(scale) * (code - int(zero)) for code in _CODES)
        return low, high

    def relu_of(conv: NodeProto) -> str:
        return str(next(n for n in model.graph.node if conv.output[0] in n.input).output[0])

    nodes = {op: [n for n in model.graph.node if n.op_type == op] for op in ("Conv", "Gemm")}
    (head,) = nodes["Gemm"]
    weights = {"head.weight": weight(head.input[1]), "head.bias": weight(head.input[2])}
    settings: list[dict[str, Any]] = []
    (entrance,) = (n for n in model.graph.node if n.input[0] == model.graph.input[0].name)
    ranges = {"patches/Unsqueeze": range_of(entrance)}
    for index, conv in enumerate(nodes["Conv"]):
        weights[f"{index}.weight"] = weight(conv.input[1])
        weights[f"{index}.bias"] = weight(conv.input[2])
        given = {a.name: helper.get_attribute_value(a) for a in conv.attribute}
        settings.append({key: given[key] for key in ("group", "pads", "strides")})
        ranges[str(index)] = range_of(rounded[relu_of(conv)])
    if len(settings) != _N_LAYERS or weights["head.weight"].shape != (N_CLASSES, N_FEATURES):
        raise ValueError(f"it has {len(settings)} convolutions")
    return YamnetLayers(weights, settings, ranges)


def lay_yamnet(layers: YamnetLayers, target: Path) -> None:
    """Write the network.

    Input: ``patches`` float32 [n, 96, 64], of `encoder.services.sound_classes.patches`.
    Outputs: ``scores`` [n, 521], each from 0 to 1, and ``features`` [n, 1024].
    """
    graph = Graph()
    states = graph.add("Unsqueeze", "patches", graph.ints(1))
    for index, settings in enumerate(layers.settings):
        kernel, bias = (
            graph.constant(layers.weights[f"{index}.{name}"], f"{index}.{name}")
            for name in ("weight", "bias")
        )
        sides = layers.weights[f"{index}.weight"].shape[2:]
        states = graph.add("Conv", states, kernel, bias, kernel_shape=sides, **settings)
        states = graph.add("Relu", states)
    features = graph.add("ReduceMean", states, graph.ints(2, 3), keepdims=0)
    head = (graph.constant(layers.weights[name], name) for name in ("head.weight", "head.bias"))
    scores = graph.add("Sigmoid", graph.add("Gemm", features, *head, transB=1))
    outputs = {"scores": (scores, ("n", N_CLASSES)), "features": (features, ("n", N_FEATURES))}
    graph.save(target, {"patches": (np.float32, ("n", PATCH_FRAMES, N_BANDS))}, outputs)
