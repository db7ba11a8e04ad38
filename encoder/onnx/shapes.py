"""The shapes that a network's values are known to have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

Shape = tuple[int | None, ...]

_LARGE_BYTES = 1024


def known(proto: ModelProto) -> tuple[dict[str, Shape], dict[str, int]]:
    """Shapes and ONNX's type codes, by value: as noted by the exporter, and what follows from it.

    A length that varies is None.
    """
    import onnx

    inferred = onnx.shape_inference.infer_shapes(_without_weights(proto), data_prop=True).graph
    shapes: dict[str, Shape] = {}
    kinds: dict[str, int] = {}
    for graph in (proto.graph, inferred):
        for value in (*graph.input, *graph.value_info, *graph.output):
            kinds[value.name] = value.type.tensor_type.elem_type
            if value.type.tensor_type.HasField("shape"):
                shapes[value.name] = _merged(_sides(value), shapes.get(value.name))
    return shapes, kinds


def _without_weights(proto: ModelProto) -> ModelProto:
    """A copy in which large weights are shapes only: shape inference does not read their values."""
    import onnx

    bare = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
    bare.functions.extend(proto.functions)
    graph = proto.graph
    bare.graph.name = graph.name
    for field in ("node", "input", "output", "value_info"):
        getattr(bare.graph, field).extend(getattr(graph, field))
    for tensor in graph.initializer:
        if len(tensor.raw_data) <= _LARGE_BYTES and not tensor.external_data:
            bare.graph.initializer.append(tensor)
        else:
            bare.graph.initializer.add(
                name=tensor.name, dims=tensor.dims, data_type=tensor.data_type,
                data_location=onnx.TensorProto.EXTERNAL,
            )  # fmt: skip
    return bare


def _sides(value: ValueInfoProto) -> Shape:
    sides = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in sides)


def _merged(one: Shape, other: Shape | None) -> Shape:
    if other is None or len(one) != len(other):
        return one
    return tuple(b if a is None else a for a, b in zip(one, other, strict=True))
