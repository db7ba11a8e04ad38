"""What a graph says about itself: what its nodes read, their order, known shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto


def reads(node: NodeProto) -> Iterator[str]:
    """The values that a node reads, and those that its subgraphs capture from outside."""
    yield from (value for value in node.input if value)
    for graph in _subgraphs(node):
        yield from _captured(graph)


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        yield from (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs)


def _captured(graph: GraphProto) -> Iterator[str]:
    defined = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    defined |= {value for node in graph.node for value in node.output}
    inner = [value for node in graph.node for value in reads(node)]
    yield from (v for v in (*inner, *(o.name for o in graph.output)) if v not in defined)


def operators(graph: GraphProto) -> set[str]:
    """The names of all operators, including those in subgraphs."""
    names = {node.op_type for node in graph.node}
    for node in graph.node:
        for inner in _subgraphs(node):
            names |= operators(inner)
    return names


def needed(nodes: Sequence[NodeProto], outputs: Iterable[str]) -> list[NodeProto]:
    """The nodes that ``outputs`` need, each after those that it reads from."""
    makers = {value: i for i, node in enumerate(nodes) for value in node.output if value}
    order: list[NodeProto] = []
    done: set[int] = set()
    stack = [(makers[value], False) for value in outputs if value in makers]
    while stack:
        i, inputs_done = stack.pop()
        if i in done:
            continue
        if inputs_done:
            done.add(i)
            order.append(nodes[i])
            continue
        stack.append((i, True))
        stack.extend(
            (makers[v], False) for v in reads(nodes[i]) if v in makers and makers[v] not in done
        )
    return order


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


Sides = tuple[int | str | None, ...]


def named_sides(proto: ModelProto) -> dict[str, Sides]:
    """The shapes of values, in which a length that varies has the exporter's name for it."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(_without_weights(proto), data_prop=True).graph
    return {
        value.name: tuple(
            side.dim_param or (side.dim_value if side.HasField("dim_value") else None)
            for side in value.type.tensor_type.shape.dim
        )
        for graph in (inferred, proto.graph)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


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


def _merged(shape: Shape, other: Shape | None) -> Shape:
    if other is None or len(shape) != len(other):
        return shape
    return tuple(b if a is None else a for a, b in zip(shape, other, strict=True))
