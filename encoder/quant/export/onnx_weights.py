"""Put stored integers into an ONNX graph in place of float weights.

Each weight is lifted out of the graph into an input before the graph is optimized: values that the
optimizer does not know, it cannot fold (a batch norm into a convolution, a transposition, a copy
per use). Then the input is replaced by the stored codes and a ``DequantizeLinear``.
Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.quant.allocation.targets import TENSORRT_BLOCKS
from encoder.quant.layout import Layout
from encoder.quant.packing import unpack
from encoder.quant.weights import PackedWeight

if TYPE_CHECKING:
    import onnx_ir as ir

OPSET = 21
"""The first opset with INT4 and blocks in ``DequantizeLinear``."""


@dataclass(frozen=True, eq=False)
class StoredRows:
    """A weight as ONNX stores it.

    Args:
        codes: int8 [n_rows, n_columns], or float16 values without scales.
        scales: float32 [n_rows, n_groups]; None for floats.
        bits: 4, 8 or 16.
        block: values that share a scale; None if it is the whole row.
    """

    codes: NDArray[Any]
    scales: NDArray[np.float32] | None
    bits: int
    block: int | None

    @property
    def row_block(self) -> int:
        """Like ``block``, but the length of a row instead of None."""
        return self.block or self.codes.shape[1]


def stored_rows(weight: PackedWeight, *, blocks: bool = False) -> StoredRows:
    """What to write for a weight: widths that ONNX has no type for use the next wider type.

    Args:
        weight: integers or float16.
        blocks: for INT4 with one scale per row, repeat the scale for blocks of 128 or 64 columns,
            which changes no value: TensorRT takes INT4 in blocks only.
    """
    if not weight.scheme.is_integer:
        return StoredRows(weight.packed.half().numpy(), None, 16, None)
    codes = unpack(weight.packed, weight.scheme.bits, weight.n_columns).numpy()
    scales = weight.scales.float().numpy()
    bits = onnx_bits(weight.scheme.bits)
    n_groups = scales.shape[1]
    block = -(-weight.n_columns // n_groups) if n_groups > 1 else None
    if blocks and bits == 4 and block is None:
        block = next(size for size in TENSORRT_BLOCKS if weight.n_columns % size == 0)
        scales = scales.repeat(weight.n_columns // block, axis=1)
    return StoredRows(codes, scales, bits, block)


def onnx_bits(bits: int) -> int:
    """The narrowest integer type of ONNX that holds codes of this many bits.

    >>> [onnx_bits(bits) for bits in (3, 4, 5, 6, 8)]
    [4, 4, 8, 8, 8]
    """
    return 4 if bits <= 4 else 8


def lift(model: ir.Model, names: Iterable[str]) -> dict[str, ir.Value]:
    """Turn these initializers, as far as the graph has them, into inputs; return them by name."""
    graph = model.graph
    lifted = {name: graph.initializers.pop(name) for name in names if name in graph.initializers}
    for value in lifted.values():
        value.const_value = None
        graph.inputs.append(value)
    return lifted


def lower(
    model: ir.Model, lifted: ir.Value, rows: StoredRows, layout: Layout, *, plain: bool
) -> None:
    """Replace a lifted weight by its stored form.

    Args:
        model: changed in place.
        lifted: an input that `lift` made.
        rows: what to store.
        layout: of the weight.
        plain: as TensorRT and OpenVINO need it: float32 scales, codes that only
            ``DequantizeLinear`` reads. Otherwise scales are float16, and an embedding looks up
            codes and dequantizes only those.
    """
    uses = list(lifted.consumers())
    if uses:
        emit = _Emitter(model.graph, str(lifted.name), uses[0], plain)
        if (not plain or rows.scales is None) and all(_is_lookup(node, lifted) for node in uses):
            for node in uses:
                _replace(model.graph, node, _lookup(emit.at(node), node, rows))
        elif all(_is_transpose(node) for node in uses):
            matrix = _matrix(emit, rows, transpose=layout.axis == 0)
            for node in uses:
                _replace(model.graph, node, matrix)
        else:
            lifted.replace_all_uses_with(_whole(emit, rows, layout))
    model.graph.inputs.remove(lifted)


def _is_lookup(node: ir.Node, table: ir.Value) -> bool:
    axis = node.attributes.get_int("axis", 0)
    return node.op_type == "Gather" and axis == 0 and node.inputs[0] is table


def _is_transpose(node: ir.Node) -> bool:
    return node.op_type == "Transpose" and list(node.attributes.get_ints("perm", ())) == [1, 0]


def _replace(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    node.outputs[0].replace_all_uses_with(value, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _whole(emit: _Emitter, rows: StoredRows, layout: Layout) -> ir.Value:
    """The weight in its own shape."""
    if rows.block is None and layout.n_groups == 1:
        return emit.dequantized(rows, _codes_in(layout, rows.codes), axis=layout.axis)
    if len(layout.shape) == 2:
        return _matrix(emit, rows, transpose=layout.axis == 1)
    matrix = _matrix(emit, rows, transpose=False)
    if layout.axis == 1:
        apart = emit.node("Reshape", matrix, emit.int64("apart", layout.grouped))
        n_axes = len(layout.grouped)
        matrix = emit.node("Transpose", apart, perm=[0, 2, 1, *range(3, n_axes)])
    return emit.node("Reshape", matrix, emit.int64("shape", layout.shape))


def _codes_in(layout: Layout, codes: NDArray[Any]) -> NDArray[Any]:
    """Rows of codes in the shape of the weight."""
    import torch

    weight: NDArray[Any] = layout.weight(torch.from_numpy(codes)).numpy()
    return weight


def _matrix(emit: _Emitter, rows: StoredRows, *, transpose: bool) -> ir.Value:
    """The weight [n_rows, n_columns], or its transpose."""
    codes = rows.codes.T if transpose else rows.codes
    rows_axis = 1 if transpose else 0
    if rows.block is None:
        return emit.dequantized(rows, codes, axis=rows_axis)
    return emit.dequantized(rows, codes, axis=1 - rows_axis, transpose=transpose)


def _lookup(emit: _Emitter, gather: ir.Node, rows: StoredRows) -> ir.Value:
    """The rows that a Gather asks for."""
    ids = gather.inputs[1]
    assert ids is not None
    if rows.scales is None:
        table = emit.constant("float16", rows.codes)
        return emit.float32(emit.node("Gather", table, ids))
    if rows.bits == 4:
        codes = _unpacked(emit, ids, rows.codes)
    else:
        codes = emit.node("Gather", emit.constant("codes", rows.codes), ids)
    stored = emit.constant("scales", rows.scales.astype(np.float16))
    scales = emit.float32(emit.node("Gather", stored, ids))
    if _rank(ids) == 0 and rows.block is None:
        return emit.node("DequantizeLinear", codes, scales)
    return emit.node("DequantizeLinear", codes, scales, axis=-1, block_size=rows.row_block)


def _unpacked(emit: _Emitter, ids: ir.Value, codes: NDArray[Any]) -> ir.Value:
    """Look up rows of two codes a byte, since ONNX Runtime's Gather takes no INT4.

    A second Gather, in a table of all bytes, gives the two codes of each byte.
    """
    n_columns = codes.shape[1]
    packed = _packed(np.pad(codes, ((0, 0), (0, n_columns % 2)))).reshape(len(codes), -1)
    found = emit.node("Gather", emit.constant("bytes", packed), ids)
    pairs = emit.node("Gather", emit.constant("pairs", _PAIRS), emit.node("Cast", found, to=_INT32))
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
    """Adds nodes before a given node, named after the weight that they replace."""

    graph: ir.Graph
    prefix: str
    before: ir.Node
    plain: bool

    def at(self, node: ir.Node) -> _Emitter:
        return replace(self, before=node)

    def node(
        self, op_type: str, *inputs: ir.Value | None, **attributes: int | Sequence[int]
    ) -> ir.Value:
        import onnx_ir as ir

        node = ir.node(op_type, inputs, attributes)
        self.graph.insert_before(self.before, node)
        return node.outputs[0]

    def constant(self, name: str, array: NDArray[Any], *, bits: int | None = None) -> ir.Value:
        """An initializer; an existing one of that name is reused."""
        import onnx_ir as ir

        full = f"{self.prefix}.{name}"
        if full not in self.graph.initializers:
            tensor: Any = ir.tensor(np.ascontiguousarray(array), name=full)
            if bits == 4:
                kind = ir.DataType.INT4
                tensor = ir.PackedTensor(_packed(array), kind, shape=array.shape, name=full)
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
        self, rows: StoredRows, codes: NDArray[Any], *, axis: int, transpose: bool = False
    ) -> ir.Value:
        if rows.scales is None:
            return self.float32(self.constant("float16", codes))
        stored = self.constant("codes", codes, bits=rows.bits)
        scales = rows.scales.T if transpose else rows.scales
        if rows.block is None:
            return self.node(
                "DequantizeLinear", stored, self._scales(scales.reshape(-1)), axis=axis
            )
        factors = self._scales(scales)
        return self.node("DequantizeLinear", stored, factors, axis=axis, block_size=rows.block)

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
