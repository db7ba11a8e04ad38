"""Fuse operators that exporters decompose, where that is measurably faster."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np

from encoder.onnx.attention import FusedAttention, attentions
from encoder.onnx.graph import MICROSOFT
from encoder.onnx.linears import LinearLayer, linears
from encoder.onnx.network import OnnxNetwork, attribute

if TYPE_CHECKING:
    from onnx import NodeProto


def fuse(network: OnnxNetwork) -> dict[str, int]:
    """Rewrite all that is found; return the number of rewrites by name."""
    parts = SplitOutputs(network)
    n_cut = sum(parts.replace(layer) for layer in list(linears(network)))
    norm, rotary = FusedNorm(network), FusedRotary(network)
    attention, gelu = FusedAttention(network), FastGelu(network)
    return {
        "parts": n_cut,
        "norm": sum(norm.replace(node) for node in network.nodes("Mul", "Div")),
        "rotary": sum(rotary.replace(node) for node in network.nodes("Add")),
        "attention": sum(attention.replace(attn) for attn in attentions(network)),
        "gelu": sum(gelu.replace(node) for node in network.nodes("Gelu", "Mul")),
    }


class FastGelu:
    """Puts `FastGelu` in place of GELU; a bias before it is faster as a separate addition."""

    def __init__(self, network: OnnxNetwork) -> None:
        network.uses(MICROSOFT)
        self._network = network

    def replace(self, node: NodeProto) -> bool:
        """Replace a `Gelu` operator, or the last product of its formula; False if it is neither."""
        x = node.input[0] if node.op_type == "Gelu" else self._formula(node)
        if x is None:
            return False
        network = self._network
        network.remove(node)
        network.add("FastGelu", x, domain=MICROSOFT, output=node.output[0])
        return True

    def _formula(self, node: NodeProto) -> str | None:
        """The x in x (erf(x / sqrt 2) + 1) / 2, whichever factors are multiplied first."""
        network = self._network
        factors = list(self._factors(node, 0))
        halves = [f for f in factors if network.scalar(f) is not None]
        operands = [f for f in factors if network.scalar(f) is None]
        if len(halves) != 1 or len(operands) != 2 or network.scalar(halves[0]) != 0.5:
            return None
        for x, grown in (operands, operands[::-1]):
            if self._is_one_plus_erf(grown, x):
                return x
        return None

    def _factors(self, node: NodeProto, depth: int) -> list[str]:
        factors: list[str] = []
        for value in node.input:
            inner = self._network.maker(value, "Mul")
            is_part = inner is not None and depth < 1 and self._network.only_reader(value, "Mul")
            factors += self._factors(inner, depth + 1) if inner is not None and is_part else [value]
        return factors

    def _is_one_plus_erf(self, value: str, x: str) -> bool:
        network = self._network
        added = network.maker(value, "Add")
        if added is None:
            return False
        for term, other in (added.input, reversed(added.input)):
            erf = network.maker(other, "Erf")
            if erf is not None and network.scalar(term) == 1.0:
                return self._is_scaled(erf.input[0], x)
        return False

    def _is_scaled(self, value: str, x: str) -> bool:
        """Whether a value is x / sqrt 2."""
        node = self._network.maker(value, "Mul", "Div")
        if node is None or node.input[0] != x:
            return False
        factor = self._network.scalar(node.input[1])
        root = math.sqrt(2) if node.op_type == "Div" else math.sqrt(0.5)
        return factor is not None and abs(factor - root) < 1e-4


class FusedNorm:
    """Puts `SimplifiedLayerNormalization` in place of x / sqrt(mean(x^2) + eps)."""

    def __init__(self, network: OnnxNetwork) -> None:
        self._network = network
        self._ones: dict[int, str] = {}

    def replace(self, node: NodeProto) -> bool:
        """Replace the product of x and the inverse root, or x over the root; False if neither."""
        network = self._network
        x_epsilon = next(
            (
                (x, epsilon)
                for x, root in (node.input, reversed(node.input))
                if (epsilon := self._epsilon(node, x, root)) is not None
            ),
            None,
        )
        shape = x_epsilon and network.shape(x_epsilon[0])
        if x_epsilon is None or not shape or shape[-1] is None:
            return False
        x, epsilon = x_epsilon
        scaled = network.only_reader(node.output[0], "Mul")
        weight = self._weight(scaled, node.output[0], shape[-1]) if scaled else None
        end = scaled.output[0] if scaled is not None and weight else node.output[0]
        network.remove(node)
        if scaled is not None and weight:
            network.remove(scaled)
        self._norm(x, weight or self._one(shape[-1]), epsilon, end)
        return True

    def _norm(self, x: str, weight: str, epsilon: float, end: str) -> None:
        """Add the norm, for heads before their transposition: attention takes them untransposed."""
        network = self._network
        swap = network.maker(x, "Transpose")
        order = list(attribute(swap, "perm")) if swap is not None else []
        if swap is None or order[-1] != len(order) - 1:
            self._add(x, weight, epsilon, end)
            return
        normed = self._add(swap.input[0], weight, epsilon, None)
        network.add("Transpose", normed, perm=order, output=end)

    def _add(self, x: str, weight: str, epsilon: float, end: str | None) -> str:
        return self._network.add(
            "SimplifiedLayerNormalization", x, weight, output=end, axis=-1, epsilon=epsilon
        )

    def _epsilon(self, node: NodeProto, x: str, root: str) -> float | None:
        """What is added to the mean square, if ``root`` is (in a quotient) the root of x."""
        network = self._network
        if node.op_type == "Div" and node.input[0] != x:
            return None
        base, power = self._power(root)
        added = network.maker(base, "Add")
        if added is None or power != (0.5 if node.op_type == "Div" else -0.5):
            return None
        for mean, epsilon in (added.input, reversed(added.input)):
            reduced = network.maker(mean, "ReduceMean")
            if reduced is not None and self._is_square(reduced, x):
                return network.scalar(epsilon)
        return None

    def _power(self, value: str) -> tuple[str, float]:
        """A value as a power of another value: that value and the exponent."""
        network, power = self._network, 1.0
        while node := network.maker(value, "Reciprocal", "Div", "Sqrt", "Pow"):
            if node.op_type == "Pow":
                exponent = network.scalar(node.input[1])
                return (value, power) if exponent is None else (node.input[0], power * exponent)
            if node.op_type == "Div" and network.scalar(node.input[0]) != 1.0:
                break
            power *= 0.5 if node.op_type == "Sqrt" else -1.0
            value = node.input[-1]
        return value, power

    def _is_square(self, reduced: NodeProto, x: str) -> bool:
        network = self._network
        axes = attribute(reduced, "axes")
        if axes is None and len(reduced.input) > 1:
            array = network.array(reduced.input[1])
            axes = None if array is None else array.tolist()
        square = network.maker(reduced.input[0], "Pow", "Mul")
        if square is None or square.input[0] != x or not attribute(reduced, "keepdims", 1):
            return False
        shape = network.shape(x) or ()
        if axes not in ([-1], [len(shape) - 1]):
            return False
        return square.input[1] == x or (
            square.op_type == "Pow" and network.scalar(square.input[1]) == 2.0
        )

    def _weight(self, scaled: NodeProto, normed: str, width: int) -> str | None:
        weight = next((value for value in scaled.input if value != normed), normed)
        array = self._network.array(weight)
        return weight if array is not None and array.shape == (width,) else None

    def _one(self, width: int) -> str:
        if width not in self._ones:
            self._ones[width] = self._network.constant(np.ones(width, np.float32))
        return self._ones[width]


_SWAP_HEADS = [0, 2, 1, 3]


class FusedRotary:
    """Puts `RotaryEmbedding` in place of x cos + concat(-x2, x1) sin.

    Heads must be as wide as the angles, and the angles the same for the whole batch.
    """

    def __init__(self, network: OnnxNetwork) -> None:
        network.uses(MICROSOFT)
        self._network = network
        self._tables: dict[tuple[str, int], str] = {}

    def replace(self, node: NodeProto) -> bool:
        """Replace the sum of both products; False if the node is something else."""
        network = self._network
        products = [network.maker(value, "Mul") for value in node.input]
        for cos_product, sin_product in (products, products[::-1]):
            if cos_product is None or sin_product is None:
                return False
            for x, cos in (cos_product.input, reversed(cos_product.input)):
                for turned, sin in (sin_product.input, reversed(sin_product.input)):
                    if self._is_turned(turned, x):
                        return self._fuse(node, x, cos, sin)
        return False

    def _is_turned(self, turned: str, x: str) -> bool:
        """Whether a value is x with its halves swapped, the second one negated."""
        network = self._network
        joined = network.maker(turned, "Concat")
        if joined is None or len(joined.input) != 2 or attribute(joined, "axis") not in (-1, 3):
            return False
        negated = network.maker(joined.input[0], "Neg")
        shape = network.shape(x)
        if negated is None or shape is None or len(shape) != 4 or shape[3] is None:
            return False
        half = shape[3] // 2
        return self._is_half(negated.input[0], x, half) and self._is_half(joined.input[1], x, 0)

    def _is_half(self, value: str, x: str, start: int) -> bool:
        network = self._network
        if cut := network.maker(value, "Slice"):
            return cut.input[0] == x and network.scalar(cut.input[1]) == start
        cut = network.maker(value, "Split")
        return cut is not None and cut.input[0] == x and cut.output[min(start, 1)] == value

    def _fuse(self, node: NodeProto, x: str, cos: str, sin: str) -> bool:
        network = self._network
        shape, angles = network.shape(x), [network.shape(value) for value in (cos, sin)]
        swap = network.maker(x, "Transpose")
        if swap is None or list(attribute(swap, "perm")) != _SWAP_HEADS:
            return False
        if shape is None or not shape[1] or not shape[3]:
            return False
        if any(a is None or len(a) != 4 or a[:2] != (1, 1) or a[3] != shape[3] for a in angles):
            return False
        n_heads, width = shape[1], shape[3]
        tables = [self._table(value, width) for value in (cos, sin)]
        rows = network.add("Reshape", swap.input[0], network.ints(0, 0, -1))
        network.remove(node)
        turned = network.add(
            "RotaryEmbedding", rows, network.ints(0), *tables, domain=MICROSOFT,
            num_heads=n_heads, rotary_embedding_dim=0, interleaved=0,
        )  # fmt: skip
        by_token = network.add("Reshape", turned, network.ints(0, 0, n_heads, width))
        network.add("Transpose", by_token, perm=_SWAP_HEADS, output=node.output[0])
        return True

    def _table(self, angles: str, width: int) -> str:
        """The first half of each row, [length, head_dim / 2]: the second is the same."""
        network = self._network
        if (angles, width) not in self._tables:
            rows = network.add("Reshape", angles, network.ints(-1, width))
            ends = network.ints(0), network.ints(width // 2), network.ints(1)
            self._tables[angles, width] = network.add("Slice", rows, *ends)
        return self._tables[angles, width]


@dataclass(frozen=True)
class OutputSlice:
    """Outputs ``start`` to ``end`` of a layer.

    Args:
        value: the value that holds these outputs.
        sides: the value's last axes, if they differ from the single axis of the outputs.
    """

    value: str
    start: int
    end: int
    sides: tuple[int, ...] = ()


class SplitOutputs:
    """Replaces a layer by one layer for each part of its outputs."""

    def __init__(self, network: OnnxNetwork) -> None:
        self._network = network

    def replace(self, layer: LinearLayer) -> bool:
        """Replace a layer; False if anything but parts of its outputs is read."""
        network, n_out = self._network, len(layer.weight)
        stored = network.array(layer.node.input[1])
        output, bias = layer.node.output[0], None
        added = network.only_reader(output, "Add")
        if added is not None:
            bias = next((v for v in added.input if v != output), output)
            array = network.array(bias)
            if array is None or array.shape != (n_out,):
                return False
            output = added.output[0]
        parts, cutters = self._parts(output, n_out)
        if len(parts) < 2 or stored is None or stored.ndim != 2:
            return False
        network.remove(layer.node, *([added] if added is not None else []), *cutters)
        for span in parts:
            self._lay(layer.node, bias, span, len(network.shape(output) or ()))
        return True

    def _lay(self, node: NodeProto, bias: str | None, span: OutputSlice, n_axes: int) -> None:
        network = self._network
        clone = type(node)()
        clone.CopyFrom(node)
        by_output = 0 if attribute(node, "transB", 0) else 1
        clone.name = f"{node.name}_{span.start}"
        clone.input[1] = self._cut(node.input[1], span, by_output)
        if len(node.input) > 2:
            clone.input[2] = self._cut(node.input[2], span, 0)
        is_end = not (bias or span.sides)
        clone.output[0] = span.value if is_end else f"{node.output[0]}_{span.start}"
        end = network.place(clone)
        if bias:
            last = None if span.sides else span.value
            end = network.add("Add", end, self._cut(bias, span, 0), output=last)
        if span.sides:
            shape = network.ints(*[0] * (n_axes - 1), *span.sides)
            network.add("Reshape", end, shape, output=span.value)

    def _cut(self, constant: str, span: OutputSlice, axis: int) -> str:
        ints = self._network.ints
        return self._network.add("Slice", constant, ints(span.start), ints(span.end), ints(axis))

    def _parts(self, output: str, n_out: int) -> tuple[list[OutputSlice], list[NodeProto]]:
        """The parts, and the nodes that cut them; none if anything else reads the outputs."""
        network = self._network
        if split := network.only_reader(output, "Split"):
            return self._split(split, n_out), [split]
        reshape = network.only_reader(output, "Reshape")
        shape, axes = network.shape(output), reshape and network.shape(reshape.output[0])
        if not reshape or not shape or not axes or None in axes[len(shape) - 1 :]:
            return [], []
        axis = len(shape) - 1  # the axis of the parts
        n_parts, *sides = (side or 0 for side in axes[axis:])
        width = n_out // max(n_parts, 1)
        readers = list(self._picks(reshape.output[0], (axis, axis - len(axes))))
        if reshape.output[0] in network.outputs or None in readers or not sides:
            return [], []
        picks = [reader for reader in readers if reader is not None]
        parts = [OutputSlice(v, i * width, (i + 1) * width, tuple(sides)) for v, i, _ in picks]
        return parts, [reshape, *(node for _, _, nodes in picks for node in nodes)]

    def _split(self, node: NodeProto, n_out: int) -> list[OutputSlice]:
        network = self._network
        shape = network.shape(node.input[0]) or ()
        if attribute(node, "axis", 0) not in (-1, len(shape) - 1) or not shape:
            return []
        sizes = attribute(node, "split")
        if len(node.input) > 1:
            array = network.array(node.input[1])
            sizes = None if array is None else array.tolist()
        elif sizes is None and n_out % len(node.output) == 0:
            sizes = [n_out // len(node.output)] * len(node.output)
        if not sizes:
            return []
        ends = pairwise(accumulate(sizes, initial=0))
        return [
            OutputSlice(value, *pair)
            for value, pair in zip(node.output, ends, strict=True)
            if value
        ]

    def _picks(
        self, value: str, axis: tuple[int, int]
    ) -> Iterator[tuple[str, int, tuple[NodeProto, ...]] | None]:
        """What is picked from an axis, at which index, and by which nodes; None for other readers.

        The axis is given counted from the front and from the back.
        """
        network = self._network
        for node in network.readers(value):
            if node.op_type == "Gather" and attribute(node, "axis", 0) in axis:
                index = network.array(node.input[1])
                plain = index is not None and index.shape == () and index >= 0
                yield (node.output[0], int(index), (node,)) if plain and index is not None else None
                continue
            squeeze = network.only_reader(node.output[0], "Squeeze")
            start = self._slice_of_one(node, axis)
            if squeeze is None or start is None or not self._squeezes(squeeze, axis):
                yield None
            else:
                yield squeeze.output[0], start, (node, squeeze)

    def _slice_of_one(self, node: NodeProto, axis: tuple[int, int]) -> int | None:
        network = self._network
        if node.op_type != "Slice" or len(node.input) < 4:
            return None
        start, end, along = (network.scalar(value) for value in node.input[1:4])
        if along not in axis or start is None or end != start + 1 or start < 0:
            return None
        return int(start)

    def _squeezes(self, node: NodeProto, axis: tuple[int, int]) -> bool:
        array = self._network.array(node.input[1]) if len(node.input) > 1 else None
        axes = attribute(node, "axes") if array is None else array.tolist()
        return axes in ([axis[0]], [axis[1]])
