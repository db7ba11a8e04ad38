"""Tables of tokens: rows of integer codes that are looked up and only then made floats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.quant.graph import MICROSOFT
from encoder.quant.rewrite.blocks import BLOCK, quantize_blocks
from encoder.quant.rewrite.names import layer_name
from encoder.quant.rewrite.network import Network, attribute

if TYPE_CHECKING:
    from onnx import NodeProto

_LEAST_VALUES = 1 << 18
"""Smaller ones stay float: positions and types of tokens are added to every token."""

_CHUNK_ROWS = 1 << 12
_FLOAT = 1
_MAX_CODE = 127


class Tables:
    """Replaces look-ups one by one; look-ups of one table share it.

    Args:
        network: to rewrite.
        bits: 8 (a scale for each row) or 4 (for each block of 32).
    """

    def __init__(self, network: Network, bits: int) -> None:
        network.uses(MICROSOFT)
        self._network = network
        self._bits = bits
        self._stored: dict[str, tuple[str, str]] = {}

    def name(self, node: NodeProto) -> str | None:
        """The name of the table that a `Gather` reads; None if it reads none."""
        table = self._network.array(node.input[0])
        if table is None or table.dtype != np.float32 or table.ndim != 2:
            return None
        is_table = table.size >= _LEAST_VALUES and attribute(node, "axis", 0) == 0
        stored = self._network.root(node.input[0]).split("|", 1)[0]
        return layer_name(node, stored) if is_table else None

    def replace(self, node: NodeProto) -> None:
        """Put codes in the place of the floats."""
        network, ids, end = self._network, node.input[1], node.output[0]
        codes, scales = self._store(node)
        network.remove(node)
        if self._bits == 4:
            network.add(
                "GatherBlockQuantized", codes, ids, scales, domain=MICROSOFT, output=end, bits=4,
                block_size=BLOCK, gather_axis=0, quantize_axis=1,
            )  # fmt: skip
            return
        rows = network.add("Cast", network.add("Gather", codes, ids), to=_FLOAT)
        network.add("Mul", rows, network.add("Gather", scales, ids), output=end)

    def _store(self, node: NodeProto) -> tuple[str, str]:
        network = self._network
        root = network.root(node.input[0])
        if root not in self._stored:
            table = network.array(node.input[0])
            assert table is not None
            if self._bits == 4:
                packed, scales = quantize_blocks(table)
                codes: NDArray[Any] = packed.reshape(len(packed), -1)[:, : -(-table.shape[1] // 2)]
            else:
                codes, scales = quantize_table(table)
            self._stored[root] = network.constant(codes), network.constant(scales)
        return self._stored[root]


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
