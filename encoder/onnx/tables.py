"""Token tables: rows of integer codes that are converted to floats only once looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.blocks import BLOCK, quantize_blocks
from encoder.onnx.graph import MICROSOFT
from encoder.onnx.names import layer_name
from encoder.onnx.network import Network, attribute

if TYPE_CHECKING:
    from onnx import NodeProto

_LEAST_VALUES = 1 << 18
"""Smaller tables stay float, such as positions and types, which are added to every token."""

_CHUNK_ROWS = 1 << 12
_FLOAT = 1
_MAX_CODE = 127

Rounded: TypeAlias = tuple[NDArray[Any], NDArray[np.float32], int]
"""Codes and scales of a table, and, in 4 bits, how many columns share a scale."""


class Tables:
    """Replaces look-ups one by one; look-ups in the same table share its codes.

    Args:
        network: the network to rewrite.
        bits: 8 (a scale for each row) or 4 (a scale for each block of 32).
    """

    def __init__(self, network: Network, bits: int) -> None:
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

    def replace(self, node: NodeProto, rounded: Rounded | None = None) -> None:
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

    def _store(self, node: NodeProto, rounded: Rounded | None) -> tuple[str, str, int]:
        network = self._network
        root = network.root(node.input[0])
        if root not in self._stored:
            table = network.array(node.input[0])
            assert table is not None
            codes, scales, width = rounded or self._rounded(table)
            if self._bits == 4:
                codes = codes.reshape(len(codes), -1)[:, : -(-table.shape[1] // 2)]
            self._stored[root] = network.constant(codes), network.constant(scales), width
        return self._stored[root]

    def _rounded(self, table: NDArray[Any]) -> Rounded:
        rounded = quantize_blocks(table) if self._bits == 4 else quantize_table(table)
        return (*rounded, BLOCK)


def quantize_table(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round each row to int8: codes [n_rows, n_columns] and scales [n_rows, 1]."""
    codes = np.empty(table.shape, np.int8)
    scales = np.empty((len(table), 1), np.float32)
    for start in range(0, len(table), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        scales[rows] = np.abs(table[rows]).max(axis=1, keepdims=True) / np.float32(_MAX_CODE)
        scales[rows][scales[rows] == 0] = 1.0
        codes[rows] = np.rint(table[rows] / scales[rows])
    return codes, scales
