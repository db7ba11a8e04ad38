"""Fuse RMS norms (Zhang & Sennrich 2019) that an exporter took apart back into one operator.

ONNX Runtime does this itself where the root is taken by `Sqrt` and `Div`, but not by `Pow`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from encoder.onnx.network import Network, attribute

if TYPE_CHECKING:
    from onnx import NodeProto


class FusedNorm:
    """Puts `SimplifiedLayerNormalization` in place of x / sqrt(mean(x^2) + eps)."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._ones: dict[int, str] = {}

    def replace(self, node: NodeProto) -> bool:
        """Replace the product of x and the inverse root, or x over the root; False if neither."""
        network = self._network
        found = next(
            (
                (x, epsilon)
                for x, root in (node.input, reversed(node.input))
                if (epsilon := self._epsilon(node, x, root)) is not None
            ),
            None,
        )
        shape = found and network.shape(found[0])
        if found is None or not shape or shape[-1] is None:
            return False
        x, epsilon = found
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
