"""YAMNet, which tells 521 classes of sound, from a file that rounds its activations to 8 bits.

Its weights are float32 there. Pairs of `QuantizeLinear` and `DequantizeLinear` around each layer
say in which ranges activations lie. The layers are laid again without them; the int8 network is
`encoder.onnx.static`'s, in the same ranges.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from encoder.errors import ModelError
from encoder.onnx.graph import Graph
from encoder.onnx.static import Range

if TYPE_CHECKING:
    from onnx import GraphProto

N_CLASSES, N_FEATURES = 521, 1024
_N_LAYERS = 27
_CODES = (0, 255)


def lay_yamnet(archive: Path, target: Path) -> dict[str, Range]:
    """Write the network; return the ranges of its activations, as `encoder.onnx.static` names them.

    Input: ``patches`` float32 [n, 96, 64], of `encoder.services.sound_classes.patches`.
    Outputs: ``scores`` [n, 521], each from 0 to 1, and ``features`` [n, 1024].

    Args:
        archive: a zip of one ``.onnx`` file and its data.
        target: the file to write.

    Raises:
        ModelError: it is not this network.
    """
    import onnx

    try:
        with TemporaryDirectory() as folder:
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(folder)
            (path,) = Path(folder).rglob("*.onnx")
            return _lay(onnx.load(path).graph, target)
    # protobuf's errors share no base class below Exception
    except Exception as error:
        raise ModelError(
            f"{archive} is not the YAMNet that was expected: {error!r}.",
            remedy="Run `anymodal bundle fetch`.",
        ) from error


def _lay(given: GraphProto, target: Path) -> dict[str, Range]:
    from onnx import helper, numpy_helper

    graph, ranges = Graph(), dict[str, Range]()
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in given.initializer}
    makers = {node.output[0]: node for node in given.node}
    readers = {node.input[0]: node for node in given.node}
    convolutions = [node for node in given.node if node.op_type == "Conv"]
    (head,) = (node for node in given.node if node.op_type == "Gemm")

    def weight(name: str, label: str) -> str:
        while name not in tensors:
            name = makers[name].input[0]
        return graph.constant(tensors[name], label)

    def note_range(activation: str, value: str) -> None:
        scale, zero = (tensors[name] for name in readers[value].input[1:])
        low, high = (float(scale) * (code - int(zero)) for code in _CODES)
        ranges[activation] = low, high

    states = graph.add("Unsqueeze", "patches", graph.ints(1))
    note_range("patches/Unsqueeze", given.input[0].name)
    for index, layer in enumerate(convolutions):
        kernel = weight(layer.input[1], f"{index}.weight")
        bias = weight(layer.input[2], f"{index}.bias")
        settings = {a.name: helper.get_attribute_value(a) for a in layer.attribute}
        states = graph.add("Relu", graph.add("Conv", states, kernel, bias, **settings))
        note_range(str(index), readers[layer.output[0]].output[0])
    features = graph.add("ReduceMean", states, graph.ints(2, 3), keepdims=0)
    ranges[f"{_N_LAYERS - 1}/Relu/ReduceMean"] = ranges[str(_N_LAYERS - 1)]
    of_head = weight(head.input[1], "head.weight"), weight(head.input[2], "head.bias")
    scores = graph.add("Sigmoid", graph.add("Gemm", features, *of_head, transB=1))
    if len(convolutions) != _N_LAYERS or tensors[head.input[2]].shape != (N_CLASSES,):
        raise ValueError(f"{len(convolutions)} convolutions")
    outputs = {"scores": (scores, ("n", N_CLASSES)), "features": (features, ("n", N_FEATURES))}
    graph.save(target, {"patches": (np.float32, ("n", 96, 64))}, outputs)
    return ranges
