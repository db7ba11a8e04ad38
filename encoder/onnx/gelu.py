"""GELU in its tanh form, which is much faster and 5e-4 off at most: a small part of a code."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from encoder.onnx.graph import MICROSOFT
from encoder.onnx.network import Network

if TYPE_CHECKING:
    from onnx import NodeProto


class FastGelu:
    """Puts `FastGelu` in place of GELU; a bias before it is faster as a separate addition."""

    def __init__(self, network: Network) -> None:
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
        rest = [f for f in factors if network.scalar(f) is None]
        if len(halves) != 1 or len(rest) != 2 or network.scalar(halves[0]) != 0.5:
            return None
        for x, grown in (rest, rest[::-1]):
            if self._is_one_plus_erf(grown, x):
                return x
        return None

    def _factors(self, node: NodeProto, depth: int) -> list[str]:
        found: list[str] = []
        for value in node.input:
            inner = self._network.maker(value, "Mul")
            is_part = inner is not None and depth < 1 and self._network.only_reader(value, "Mul")
            found += self._factors(inner, depth + 1) if inner is not None and is_part else [value]
        return found

    def _is_one_plus_erf(self, value: str, x: str) -> bool:
        network = self._network
        added = network.maker(value, "Add")
        if added is None:
            return False
        for one, other in (added.input, reversed(added.input)):
            erf = network.maker(other, "Erf")
            if erf is not None and network.scalar(one) == 1.0:
                return self._is_scaled(erf.input[0], x)
        return False

    def _is_scaled(self, value: str, x: str) -> bool:
        """Whether a value is x / sqrt 2."""
        node = self._network.maker(value, "Mul", "Div")
        if node is None or node.input[0] != x:
            return False
        factor = self._network.scalar(node.input[1])
        wanted = math.sqrt(2) if node.op_type == "Div" else math.sqrt(0.5)
        return factor is not None and abs(factor - wanted) < 1e-4
