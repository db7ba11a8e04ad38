"""A token table that stays packed: four bits a value, converted to floats row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.graph import Graph

_ZERO = 8
_LOW, _BITS = 15, 4
_FLOAT = 1
"""ONNX's code for this type."""
_AT_ONCE = 1 << 14


@dataclass(frozen=True, eq=False)
class PackedTable:
    """A table [n_rows, n_columns] in blocks: a value is its scale times (its code - 8).

    Args:
        codes: uint8 [n_rows, n_blocks, n / 2], n values to a block. The low four bits of byte j
            are the code of the block's value j, the high four bits the code of value j + n / 2
            (the layout of ``Q4_0`` in ggml).
        scales: float16 [n_rows, n_blocks].
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float16]

    @property
    def n_columns(self) -> int:
        """Values in a row."""
        return 2 * int(np.prod(self.codes.shape[1:]))

    def rows(self, ids: NDArray[np.integer] | slice) -> NDArray[np.float32]:
        """Rows as floats, [n, n_columns]."""
        codes = self.codes[ids]
        whole = np.concatenate([codes & _LOW, codes >> _BITS], axis=-1).astype(np.float32)
        values = (whole - _ZERO) * self.scales[ids].astype(np.float32)[..., None]
        return values.reshape(-1, self.n_columns)

    def unpacked(self) -> NDArray[np.float32]:
        """All rows as floats, which take 7 times as much memory."""
        n_rows = len(self.codes)
        table = np.empty((n_rows, self.n_columns), np.float32)
        for start in range(0, n_rows, _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            table[some] = self.rows(some)
        return table


def look_up_packed(graph: Graph, table: PackedTable, ids: str) -> str:
    """Look up rows: ``ids`` [n, length] to float32 [n, length, n_columns]; standard operators."""
    codes = graph.add("Gather", graph.constant(table.codes, "word.codes"), ids)
    low = graph.add("BitwiseAnd", codes, graph.constant(np.uint8(_LOW)))
    high = graph.add("BitShift", codes, graph.constant(np.uint8(_BITS)), direction="RIGHT")
    whole = graph.add("Cast", graph.add("Concat", low, high, axis=-1), to=_FLOAT)
    centred = graph.add("Sub", whole, graph.constant(np.float32(_ZERO)))
    scales = graph.add("Gather", graph.constant(table.scales[..., None], "word.scales"), ids)
    values = graph.add("Mul", centred, graph.add("Cast", scales, to=_FLOAT))
    return graph.add("Reshape", values, graph.ints(0, 0, table.n_columns))
