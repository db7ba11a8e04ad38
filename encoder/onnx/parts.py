"""Linear layers whose outputs are split, such as queries, keys and values from one weight.

Separate layers write their parts directly; the output of a joint layer must be copied into parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from encoder.onnx.linears import Linear
from encoder.onnx.network import Network, attribute

if TYPE_CHECKING:
    from onnx import NodeProto


@dataclass(frozen=True)
class Part:
    """Outputs ``start`` to ``end`` of a layer.

    Args:
        value: the value that holds these outputs.
        sides: the value's last axes, if they differ from the single axis of the outputs.
    """

    value: str
    start: int
    end: int
    sides: tuple[int, ...] = ()


class Parts:
    """Replaces a layer by one layer for each part of its outputs."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def replace(self, layer: Linear) -> bool:
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
        for part in parts:
            self._lay(layer.node, bias, part, len(network.shape(output) or ()))
        return True

    def _lay(self, node: NodeProto, bias: str | None, part: Part, n_axes: int) -> None:
        network = self._network
        made = type(node)()
        made.CopyFrom(node)
        by_output = 0 if attribute(node, "transB", 0) else 1
        made.name = f"{node.name}_{part.start}"
        made.input[1] = self._cut(node.input[1], part, by_output)
        if len(node.input) > 2:
            made.input[2] = self._cut(node.input[2], part, 0)
        is_end = not (bias or part.sides)
        made.output[0] = part.value if is_end else f"{node.output[0]}_{part.start}"
        end = network.place(made)
        if bias:
            last = None if part.sides else part.value
            end = network.add("Add", end, self._cut(bias, part, 0), output=last)
        if part.sides:
            shape = network.ints(*[0] * (n_axes - 1), *part.sides)
            network.add("Reshape", end, shape, output=part.value)

    def _cut(self, constant: str, part: Part, axis: int) -> str:
        ints = self._network.ints
        return self._network.add("Slice", constant, ints(part.start), ints(part.end), ints(axis))

    def _parts(self, output: str, n_out: int) -> tuple[list[Part], list[NodeProto]]:
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
        found = list(self._picks(reshape.output[0], (axis, axis - len(axes))))
        if reshape.output[0] in network.outputs or None in found or not sides:
            return [], []
        picks = [one for one in found if one is not None]
        parts = [Part(v, i * width, (i + 1) * width, tuple(sides)) for v, i, _ in picks]
        return parts, [reshape, *(node for _, _, nodes in picks for node in nodes)]

    def _split(self, node: NodeProto, n_out: int) -> list[Part]:
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
        return [Part(value, *pair) for value, pair in zip(node.output, ends, strict=True) if value]

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
