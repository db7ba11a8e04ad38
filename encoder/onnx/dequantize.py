"""Put stored integers into an ONNX graph in place of float weights.

Each weight is lifted out of the graph into an input before the graph is optimized: values that the
optimizer does not know, it cannot fold (a batch norm into a convolution, a transposition, a copy
per use). Then the input is replaced by the stored codes and a ``DequantizeLinear``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.codes import StoredWeight

if TYPE_CHECKING:
    import onnx_ir as ir

OPSET = 21
"""The first opset with INT4 and blocks in ``DequantizeLinear``."""


def lift(model: ir.Model, names: Iterable[str]) -> dict[str, ir.Value]:
    """Turn these initializers, as far as the graph has them, into inputs; return them by name."""
    graph = model.graph
    lifted = {name: graph.initializers.pop(name) for name in names if name in graph.initializers}
    for value in lifted.values():
        value.const_value = None
        graph.inputs.append(value)
    return lifted


def lower(model: ir.Model, lifted: ir.Value, weight: StoredWeight, *, plain: bool) -> None:
    """Replace a lifted weight by its stored form.

    Args:
        model: changed in place.
        lifted: an input that `lift` made.
        weight: what to store.
        plain: as TensorRT and OpenVINO need it: float32 scales, codes that only
            ``DequantizeLinear`` reads. Otherwise scales are float16, and an embedding looks up
            codes and dequantizes only those.
    """
    uses = list(lifted.consumers())
    if uses:
        emit = _Emitter(model.graph, str(lifted.name), uses[0], plain)
        rows_first = weight.layout.axes == (0,) and len(weight.layout.shape) == 2
        looked_up = rows_first and all(_is_lookup(node, lifted) for node in uses)
        if looked_up and (not plain or weight.is_float):
            for node in uses:
                _replace(model.graph, node, _lookup(emit.at(node), node, weight))
        elif all(_is_transpose(node) for node in uses):
            matrix = _matrix(emit, weight, transpose=rows_first)
            for node in uses:
                _replace(model.graph, node, matrix)
        else:
            lifted.replace_all_uses_with(_whole(emit, weight))
    model.graph.inputs.remove(lifted)


def _is_lookup(node: ir.Node, table: ir.Value) -> bool:
    axis = node.attributes.get_int("axis", 0)
    return node.op_type == "Gather" and axis == 0 and node.inputs[0] is table


def _is_transpose(node: ir.Node) -> bool:
    return node.op_type == "Transpose" and list(node.attributes.get_ints("perm", ())) == [1, 0]


def _replace(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    node.outputs[0].replace_all_uses_with(value, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _whole(emit: _Emitter, weight: StoredWeight) -> ir.Value:
    """The weight in its own shape."""
    layout = weight.layout
    n_groups = 1 if layout.axes == (0,) else layout.n_groups
    if weight.group is None and n_groups == len(layout.axes) == 1:
        return emit.dequantized(weight, weight.in_shape(), axis=layout.axes[0])
    if len(layout.shape) == 2:
        return _matrix(emit, weight, transpose=layout.axes == (1,))
    matrix = _matrix(emit, weight, transpose=False)
    if layout.back != tuple(range(len(layout.back))):
        apart = emit.node("Reshape", matrix, emit.int64("apart", layout.ordered))
        matrix = emit.node("Transpose", apart, perm=layout.back)
    return emit.node("Reshape", matrix, emit.int64("shape", layout.shape))


def _matrix(emit: _Emitter, weight: StoredWeight, *, transpose: bool) -> ir.Value:
    """The weight [n_rows, n_columns], or its transpose."""
    codes = weight.codes.T if transpose else weight.codes
    rows_axis = 1 if transpose else 0
    if weight.group is None:
        return emit.dequantized(weight, codes, axis=rows_axis)
    return emit.dequantized(weight, codes, axis=1 - rows_axis, transpose=transpose)


def _lookup(emit: _Emitter, gather: ir.Node, weight: StoredWeight) -> ir.Value:
    """The rows that a Gather asks for."""
    ids = gather.inputs[1]
    assert ids is not None
    if weight.is_float:
        table = emit.constant("float16", weight.codes)
        return emit.float32(emit.node("Gather", table, ids))
    if weight.bits == 4:
        codes = _unpacked(emit, ids, weight.codes)
    else:
        codes = emit.node("Gather", emit.constant("codes", weight.codes), ids)
    stored = emit.constant("scales", weight.scales.astype(np.float16))
    scales = emit.float32(emit.node("Gather", stored, ids))
    if _rank(ids) == 0 and weight.group is None:
        return emit.node("DequantizeLinear", codes, scales)
    block = weight.group or weight.codes.shape[1]
    return emit.node("DequantizeLinear", codes, scales, axis=-1, block_size=block)


def _unpacked(emit: _Emitter, ids: ir.Value, codes: NDArray[Any]) -> ir.Value:
    """Look up rows of two codes a byte, since ONNX Runtime's Gather takes no INT4.

    A second Gather, in a table of all bytes, gives the two codes of each byte.
    """
    n_columns = codes.shape[1]
    packed = _packed(np.pad(codes, ((0, 0), (0, n_columns % 2)))).reshape(len(codes), -1)
    in_bytes = emit.node("Gather", emit.constant("bytes", packed), ids)
    indices = emit.node("Cast", in_bytes, to=_INT32)
    pairs = emit.node("Gather", emit.constant("pairs", _PAIRS), indices)
    whole = emit.node("Reshape", pairs, emit.int64(f"row{_rank(ids)}", (*[0] * _rank(ids), -1)))
    if n_columns % 2 == 0:
        return whole
    bounds = [emit.int64(name, (at,)) for name, at in (("0", 0), ("n", n_columns), ("last", -1))]
    return emit.node("Slice", whole, *bounds)


def _rank(ids: ir.Value) -> int:
    assert ids.shape is not None, f"the exporter gave no shape of {ids.name}"
    return len(ids.shape)


_BYTES = np.arange(256)
_PAIRS = (np.stack([_BYTES & 15, _BYTES >> 4], 1) ^ 8).astype(np.int8) - np.int8(8)
_INT32, _FLOAT32 = 6, 1


def _packed(codes: NDArray[Any]) -> NDArray[np.uint8]:
    """Two codes a byte, the first in the low bits, as ONNX lays out INT4."""
    flat = codes.reshape(-1).astype(np.uint8) & 15
    pairs = np.pad(flat, (0, flat.size % 2)).reshape(-1, 2)
    packed: NDArray[np.uint8] = pairs[:, 0] | (pairs[:, 1] << 4)
    return packed


@dataclass(frozen=True)
class _Emitter:
    """Adds nodes before ``anchor``, named after the weight that they replace."""

    graph: ir.Graph
    prefix: str
    anchor: ir.Node
    plain: bool

    def at(self, node: ir.Node) -> _Emitter:
        return replace(self, anchor=node)

    def node(
        self, op_type: str, *inputs: ir.Value | None, **attributes: int | Sequence[int]
    ) -> ir.Value:
        import onnx_ir as ir

        node = ir.node(op_type, inputs, attributes)
        self.graph.insert_before(self.anchor, node)
        return node.outputs[0]

    def constant(self, name: str, array: NDArray[Any], *, bits: int | None = None) -> ir.Value:
        """An initializer; an existing one of that name is reused."""
        import onnx_ir as ir

        full = f"{self.prefix}.{name}"
        if full not in self.graph.initializers:
            tensor: Any = ir.tensor(np.ascontiguousarray(array), name=full)
            if bits == 4:
                dtype = ir.DataType.INT4
                tensor = ir.PackedTensor(_packed(array), dtype, shape=array.shape, name=full)
            self.graph.register_initializer(
                ir.Value(
                    name=full,
                    const_value=tensor,
                    shape=tensor.shape,
                    type=ir.TensorType(tensor.dtype),
                )
            )
        return self.graph.initializers[full]

    def int64(self, name: str, values: Iterable[int]) -> ir.Value:
        return self.constant(name, np.array(tuple(values), np.int64))

    def float32(self, value: ir.Value) -> ir.Value:
        return self.node("Cast", value, to=_FLOAT32)

    def dequantized(
        self, weight: StoredWeight, codes: NDArray[Any], *, axis: int, transpose: bool = False
    ) -> ir.Value:
        if weight.is_float:
            return self.float32(self.constant("float16", codes))
        stored = self.constant("codes", codes, bits=weight.bits)
        scales = weight.scales.T if transpose else weight.scales
        if weight.group is None:
            return self.node(
                "DequantizeLinear", stored, self._scales(scales.reshape(-1)), axis=axis
            )
        factors = self._scales(scales)
        return self.node("DequantizeLinear", stored, factors, axis=axis, block_size=weight.group)

    def _scales(self, scales: NDArray[np.float32]) -> ir.Value:
        if self.plain:
            return self.constant("scales", scales)
        return self.float32(self.constant("scales", scales.astype(np.float16)))


def strip_metadata(model: ir.Model) -> None:
    """Drop what the exporter notes on each node: stack traces of the machine, 1 kB each."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
