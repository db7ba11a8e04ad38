"""Linear layers and token tables of any exported network in int8 or int4, for ONNX Runtime.

In int8, activations have one scale per row and weights one per output: a vector does not depend on
what else is in its batch, and the result not on the CPU (`encoder.onnx.codes`). In int4, ONNX
Runtime quantizes the activations itself, each block of a row on its own, with the same effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError, ModelError
from encoder.onnx.codes import (
    BLOCK,
    GELU_LEAST_SCALE,
    GELU_STEP,
    GELU_ZERO,
    MAX_CODE,
    Blocks,
    Rows,
    StoredWeight,
    quantize_blocks,
    quantize_rows,
    quantize_table,
)
from encoder.onnx.fuse import fuse
from encoder.onnx.graph import MICROSOFT
from encoder.onnx.linears import LinearLayer, layer_name, linears
from encoder.onnx.network import OnnxNetwork, attribute

if TYPE_CHECKING:
    from onnx import NodeProto

_IN_INT8 = 4
"""`MatMulNBits`' accuracy level that computes in int8."""

_LEAST_VALUES = 1 << 18
"""Smaller tables stay float, such as positions and types, which are added to every token."""

_FLOAT = 1

RoundedTable: TypeAlias = tuple[NDArray[Any], NDArray[np.float32], int]
"""Codes and scales of a table, and, in 4 bits, how many columns share a scale."""


class RewriteReport(NamedTuple):
    """Names of layers and tables, as the exporter has them.

    Args:
        quantized: those now in integers.
        skipped: those that stay float32.
    """

    quantized: tuple[str, ...]
    skipped: tuple[str, ...]


def quantize_linears(
    source: Path,
    target: Path,
    *,
    weight_bits: Literal[8, 4] = 8,
    keep: Sequence[str] = (),
) -> RewriteReport:
    """Rewrite the linear layers and token tables of a float32 network for ONNX Runtime.

    In 8 bits, weights have a scale for each output and activations one for each row of their last
    axis. In 4 bits, weights have a scale for each block of 32.
    The graph's inputs, outputs and other nodes stay; subgraphs are left alone.

    Args:
        source: an ``.onnx`` file of opset 10 or later, whatever made it.
        target: the file to write, which must not be ``source``.
        weight_bits: 8 or 4.
        keep: names of layers to leave in float32, or patterns such as ``*.layers.3.*``.

    Raises:
        InputError: any other number of bits, or a pattern in ``keep`` that matches no layer.
        ModelError: ``source`` is not an ONNX file, or has no linear layer with a constant weight.
    """
    if weight_bits not in (4, 8):
        raise InputError("weight_bits", got=repr(weight_bits), wanted="8 or 4")
    network = OnnxNetwork(source, target)
    fuse(network)
    chosen = _Chosen(keep)
    layers = Int4Linears(network) if weight_bits == 4 else Int8Linears(network)
    for layer in list(linears(network)):
        if chosen(layer.name):
            layers.replace(layer)
    tables = QuantizedTables(network, weight_bits)
    for node in network.nodes("Gather"):
        name = tables.name(node)
        if name is not None and chosen(name):
            tables.replace(node)
    chosen.check(source)
    network.save()
    return RewriteReport(tuple(chosen.taken), tuple(chosen.skipped))


class _Chosen:
    """Whether a layer is rewritten; records the names that it was called with."""

    def __init__(self, keep: Sequence[str]) -> None:
        self._patterns = dict.fromkeys(keep, False)
        self.taken: dict[str, None] = {}
        self.skipped: dict[str, None] = {}

    def __call__(self, name: str) -> bool:
        matching = [pattern for pattern in self._patterns if fnmatchcase(name, pattern)]
        self._patterns.update(dict.fromkeys(matching, True))
        (self.skipped if matching else self.taken)[name] = None
        return not matching

    def check(self, source: Path) -> None:
        names = [*self.taken, *self.skipped]
        if not names:
            raise ModelError(
                f"{source} has no linear layer whose weight is a float32 constant.",
                remedy="Export it in float32, without quantization.",
            )
        for pattern, matched in self._patterns.items():
            if not matched:
                near = ", ".join(names[:8])
                raise InputError(
                    "keep", got=repr(pattern), wanted=f"a layer's name, such as {near}"
                )


@dataclass(frozen=True)
class RowCodes:
    """Activations in uint8.

    Args:
        codes: the value that holds them, in the shape of the states.
        scales: the value that holds a scale for each row, [..., 1].
        zero: the constant that holds the code of 0.
    """

    codes: str
    scales: str
    zero: str


class Int8Linears:
    """Replaces layers one by one; layers that read the same value share its codes."""

    def __init__(self, network: OnnxNetwork) -> None:
        network.uses(MICROSOFT)
        self._network = network
        self._activations: dict[str, RowCodes] = {}
        self._weights: dict[str, tuple[str, str]] = {}
        self._zeros = {code: network.constant(np.uint8(code)) for code in (MAX_CODE, GELU_ZERO)}
        self._one = network.constant(np.float32(1))
        self._step = network.constant(np.float32(1 / MAX_CODE))
        self._gelu_step = network.constant(GELU_STEP)
        self._least_gelu_scale = network.constant(GELU_LEAST_SCALE)

    def replace(self, layer: LinearLayer, rounded: Rows | None = None) -> None:
        """Put the int8 form in place of a layer, rounded here unless ``rounded`` is given."""
        network = self._network
        states = self._by_row(layer.states, layer.weight.shape[1])
        weight, weight_scales = self._weight(layer, rounded)
        network.remove(layer.node)
        # only one scale is allowed for the activations, so the row scales come after
        product = network.add(
            "MatMulIntegerToFloat", states.codes, weight, self._one, weight_scales, states.zero,
            domain=MICROSOFT,
        )  # fmt: skip
        end = layer.node.output[0]
        if layer.bias is None:
            network.add("Mul", product, states.scales, output=end)
        else:
            scaled = network.add("Mul", product, states.scales)
            network.add("Add", scaled, layer.bias, output=end)

    def _weight(self, layer: LinearLayer, rounded: Rows | None) -> tuple[str, str]:
        if layer.shared not in self._weights:
            codes, scales = rounded or quantize_rows(layer.weight)
            network = self._network
            self._weights[layer.shared] = network.constant(codes.T), network.constant(scales)
        return self._weights[layer.shared]

    def _by_row(self, states: str, width: int) -> RowCodes:
        if states not in self._activations:
            network = self._network
            zero, scales = self._scales(states)
            flat = network.add("Reshape", states, network.ints(-1, width))
            each = network.add("Reshape", scales, network.ints(-1))
            zeros = self._repeated(zero, each)
            codes = network.add("QuantizeLinear", flat, each, zeros, domain=MICROSOFT, axis=0)
            codes = network.add("Reshape", codes, network.add("Shape", states))
            self._activations[states] = RowCodes(codes, scales, self._zeros[zero])
        return self._activations[states]

    def _scales(self, states: str) -> tuple[int, str]:
        """The code of 0, and a scale for each row."""
        network = self._network
        if network.maker(states, "FastGelu", "Gelu"):
            greatest = network.reduce("ReduceMax", states)
            scales = network.add("Mul", greatest, self._gelu_step)
            return GELU_ZERO, network.add("Max", scales, self._least_gelu_scale)
        least = network.add("Neg", network.reduce("ReduceMin", states))
        greatest = network.add("Max", network.reduce("ReduceMax", states), least)
        # a row of zeros has a scale of zero: whatever its codes are, its products are zero
        return MAX_CODE, network.add("Mul", greatest, self._step)

    def _repeated(self, zero: int, each: str) -> str:
        """The zero point once per row: `QuantizeLinear` needs as many as there are scales."""
        from onnx import numpy_helper

        value = numpy_helper.from_array(np.array([zero], np.uint8))
        return self._network.add("ConstantOfShape", self._network.add("Shape", each), value=value)


class Int4Linears:
    """Replaces layers one by one; layers with the same weight share its 4-bit form."""

    def __init__(self, network: OnnxNetwork) -> None:
        network.uses(MICROSOFT)
        self._network = network
        self._weights: dict[str, tuple[str, str, int]] = {}

    def replace(self, layer: LinearLayer, rounded: Blocks | None = None) -> None:
        """Put the 4-bit form in place of a layer, rounded here unless ``rounded`` is given."""
        network = self._network
        n_out, n_in = layer.weight.shape
        if layer.shared not in self._weights:
            codes, scales, width = rounded or (*quantize_blocks(layer.weight), BLOCK)
            self._weights[layer.shared] = network.constant(codes), network.constant(scales), width
        *stored, width = self._weights[layer.shared]
        network.remove(layer.node)
        end = layer.node.output[0]
        product = network.add(
            "MatMulNBits", layer.states, *stored, domain=MICROSOFT,
            output=None if layer.bias else end, K=n_in, N=n_out, bits=4, block_size=width,
            accuracy_level=_IN_INT8,
        )  # fmt: skip
        if layer.bias:
            network.add("Add", product, layer.bias, output=end)


class QuantizedTables:
    """Replaces look-ups one by one; look-ups in the same table share its codes."""

    def __init__(self, network: OnnxNetwork, bits: int) -> None:
        network.uses(MICROSOFT)
        self._network = network
        self._bits = bits
        self._stored: dict[str, tuple[str, str, int]] = {}

    def name(self, node: NodeProto) -> str | None:
        """The name of the table that a `Gather` reads; None if it reads none."""
        table = self._network.array(node.input[0])
        if table is None or table.dtype != np.float32 or table.ndim != 2:
            return None
        is_table = table.size >= _LEAST_VALUES and attribute(node, "axis", 0) == 0
        stored = self._network.root(node.input[0]).split("|", 1)[0]
        return layer_name(node, stored) if is_table else None

    def replace(self, node: NodeProto, rounded: RoundedTable | None = None) -> None:
        """Put codes in place of the floats, rounded here unless ``rounded`` is given."""
        network, ids, end = self._network, node.input[1], node.output[0]
        codes, scales, width = self._store(node, rounded)
        network.remove(node)
        if self._bits == 4:
            network.add(
                "GatherBlockQuantized", codes, ids, scales, domain=MICROSOFT, output=end, bits=4,
                block_size=width, gather_axis=0, quantize_axis=1,
            )  # fmt: skip
            return
        rows = network.add("Cast", network.add("Gather", codes, ids), to=_FLOAT)
        network.add("Mul", rows, network.add("Gather", scales, ids), output=end)

    def _store(self, node: NodeProto, rounded: RoundedTable | None) -> tuple[str, str, int]:
        network = self._network
        root = network.root(node.input[0])
        if root not in self._stored:
            table = network.array(node.input[0])
            assert table is not None
            if rounded is None:
                halves = self._bits == 4
                rounded = *(quantize_blocks(table) if halves else quantize_table(table)), BLOCK
            codes, scales, width = rounded
            if self._bits == 4:
                codes = codes.reshape(len(codes), -1)[:, : -(-table.shape[1] // 2)]
            self._stored[root] = network.constant(codes), network.constant(scales), width
        return self._stored[root]


def store_weights(source: Path, target: Path, weights: Mapping[str, StoredWeight]) -> RewriteReport:
    """Put weights that are already rounded into a float32 network that holds the same values.

    Linear layers and look-ups compute as after `quantize_linears`: in 4 bits by blocks, otherwise
    in int8. Weights that neither takes (convolutions, wider groups of codes) are stored as codes
    where possible, and become float32 when they are loaded. A layer whose values differ, since the
    exporter folded something into it, stays float32.

    Args:
        source: the ``.onnx`` file, exported from the dequantized network.
        target: the file to write, which must not be ``source``.
        weights: by the parameter's name in torch: ``layers.0.query.weight``.

    Raises:
        ModelError: ``source`` is not an ONNX file.
    """
    network = OnnxNetwork(source, target)
    fuse(network)
    stored = dict.fromkeys([*_linears(network, weights), *_tables(network, weights)])
    stored |= dict.fromkeys(_others(network, weights))
    network.save()
    return RewriteReport(tuple(stored), tuple(name for name in weights if name not in stored))


def _linears(network: OnnxNetwork, weights: Mapping[str, StoredWeight]) -> Iterator[str]:
    """The names of the weights that were put into linear layers."""
    int4, int8 = Int4Linears(network), Int8Linears(network)
    for layer in list(linears(network)):
        name = f"{layer.name}.weight"
        whole = weights.get(name)
        weight = whole and _part(whole, layer.weight)
        if weight is None:
            continue
        if weight.bits <= 4:
            int4.replace(layer, weight.blocks())
        else:
            int8.replace(layer, weight.rows())
        yield name


def _tables(network: OnnxNetwork, weights: Mapping[str, StoredWeight]) -> Iterator[str]:
    by_bits = {bits: QuantizedTables(network, bits) for bits in (4, 8)}
    for node in network.nodes("Gather"):
        layer = by_bits[8].name(node)
        name = f"{layer}.weight"
        weight, table = weights.get(name), network.array(node.input[0])
        if layer is None or weight is None or table is None or not _holds(weight, table):
            continue
        if weight.bits <= 4:
            by_bits[4].replace(node, weight.blocks())
        else:
            by_bits[8].replace(node, (*weight.table(), BLOCK))
        yield name


def _others(network: OnnxNetwork, weights: Mapping[str, StoredWeight]) -> Iterator[str]:
    """Constants that are still read under their own names, such as those of convolutions."""
    for name, weight in weights.items():
        array = network.array(name) if network.is_read(name) else None
        if array is None or not _holds(weight, array.reshape(len(array), -1)):
            continue
        codes, scales = (weight.codes, weight.scales) if weight.group is None else weight.rows()
        shape = weight.layout.shape
        sides = (-1, *[1] * (len(shape) - 1))
        network.forget(name)
        floats = network.add("Cast", network.constant(codes.reshape(shape)), to=_FLOAT)
        network.add("Mul", floats, network.constant(scales.reshape(sides)), output=name)
        yield name


def _part(weight: StoredWeight, values: NDArray[np.float32]) -> StoredWeight | None:
    """The rows of a weight that a layer holds; None if it holds other values.

    `SplitOutputs` may have split the weight.
    """
    whole = weight.values()
    if values.shape[1:] != whole.shape[1:]:
        return None
    for start in np.flatnonzero((whole == values[0]).all(axis=1)):
        rows = slice(start, start + len(values))
        if np.array_equal(values, whole[rows]):
            return replace(weight, codes=weight.codes[rows], scales=weight.scales[rows])
    return None


def _holds(weight: StoredWeight, values: NDArray[np.float32]) -> bool:
    return values.shape == weight.codes.shape and np.array_equal(values, weight.values())
