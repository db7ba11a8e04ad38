"""Weights in 4 bits, blocks of 32 with a scale each, as ONNX Runtime's operators store them. Pure.

The grid is the Quantizer's: codes -8..7, scales of least squared error. They are searched for as in
`encoder.quant.rounding.rtn`, which needs torch; preparing the bundle must not need it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array32 = NDArray[np.float32]
Blocks: TypeAlias = tuple[NDArray[np.uint8], Array32, int]
"""Packed codes, scales [n_rows, n_blocks], and the number of columns in a block."""

BLOCK = 32
_LEAST, _GREATEST = -8, 7
_ZERO = 8
"""Codes are stored unsigned: 8 is zero."""

_SHARES = (1.0, 0.92, 0.85, 0.78, 0.71, 0.64)
_CHUNK_VALUES = 1 << 18
"""Rows are searched in chunks that stay in the processor's cache."""


def quantize_blocks(weight: NDArray[np.floating]) -> tuple[NDArray[np.uint8], Array32]:
    """Round a weight [n_rows, n_columns]; the last block is padded with zeros.

    Returns:
        Pairs of codes, the first in the lower bits, uint8 [n_rows, n_blocks, 16], and scales
        float32 [n_rows, n_blocks]; a value is (code - 8) times scale.
    """
    n_rows, n_columns = weight.shape
    n_blocks = -(-n_columns // BLOCK)
    packed = np.empty((n_rows, n_blocks, BLOCK // 2), np.uint8)
    scales = np.empty((n_rows, n_blocks), np.float32)
    step = max(1, _CHUNK_VALUES // n_columns)
    for start in range(0, n_rows, step):
        rows = np.asarray(weight[start : start + step], np.float32)
        rows = np.pad(rows, ((0, 0), (0, n_blocks * BLOCK - n_columns)))
        blocks = rows.reshape(len(rows), n_blocks, BLOCK)
        found = _least_squares(blocks)
        packed[start : start + step] = _packed(_codes(blocks, found))
        scales[start : start + step] = found[..., 0]
    return packed, scales


def pack_blocks(codes: NDArray[np.int8], width: int) -> NDArray[np.uint8]:
    """Lay out codes -8..7 [n_rows, n_columns] as operators read them, padded with zeros.

    Returns:
        uint8 [n_rows, n_blocks, width / 2], as `quantize_blocks` gives them.
    """
    n_rows, n_columns = codes.shape
    n_blocks = -(-n_columns // width)
    filled = np.pad(codes, ((0, 0), (0, n_blocks * width - n_columns)))
    return _packed(filled.reshape(n_rows, n_blocks, width))


def _packed(codes: NDArray[Any]) -> NDArray[np.uint8]:
    """Two codes in a byte, the first in the lower bits."""
    unsigned = (codes + _ZERO).astype(np.uint8)
    return np.asarray(unsigned[..., ::2] | unsigned[..., 1::2] << 4, np.uint8)


def _codes(blocks: Array32, scales: Array32) -> Array32:
    codes: Array32 = np.rint(blocks / scales).clip(_LEAST, _GREATEST)
    return codes


def _least_squares(blocks: Array32) -> Array32:
    """Scales [n_rows, n_blocks, 1]; a negative one gives the sign with more room to -8."""
    furthest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1, keepdims=True), -1)
    start = np.where(furthest == 0, np.float32(1), furthest / _LEAST)
    best, least = start, np.full_like(start, np.inf)
    for share in _SHARES:
        best, least = _better(blocks, start * np.float32(share), best, least)
    for _ in range(2):  # Lloyd's algorithm: codes for the scale, the best scale for the codes
        codes = _codes(blocks, best)
        squares = (codes * codes).sum(-1, keepdims=True)
        refit = (blocks * codes).sum(-1, keepdims=True) / np.maximum(squares, 1)
        best, least = _better(blocks, np.where(refit == 0, best, refit), best, least)
    return best


def _better(
    blocks: Array32, scales: Array32, best: Array32, least: Array32
) -> tuple[Array32, Array32]:
    """Keep, block by block, the scales with less error."""
    miss = blocks - _codes(blocks, scales) * scales
    error = (miss * miss).sum(-1, keepdims=True)
    return np.where(error < least, scales, best), np.minimum(error, least)
