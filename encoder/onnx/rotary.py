"""Fuse rotary positions (Su et al. 2021) that an exporter took apart back into one operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder.onnx.graph import MICROSOFT
from encoder.onnx.network import Network, attribute

if TYPE_CHECKING:
    from onnx import NodeProto

_SWAP_HEADS = [0, 2, 1, 3]


class FusedRotary:
    """Puts `RotaryEmbedding` in place of x cos + concat(-x2, x1) sin.

    Heads must be as wide as the angles, and the angles the same for the whole batch.
    """

    def __init__(self, network: Network) -> None:
        network.uses(MICROSOFT)
        self._network = network
        self._tables: dict[tuple[str, int], str] = {}

    def replace(self, node: NodeProto) -> bool:
        """Replace the sum of both products; False if the node is something else."""
        network = self._network
        products = [network.maker(value, "Mul") for value in node.input]
        for one, other in (products, products[::-1]):
            if one is None or other is None:
                return False
            for x, cos in (one.input, reversed(one.input)):
                for turned, sin in (other.input, reversed(other.input)):
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
