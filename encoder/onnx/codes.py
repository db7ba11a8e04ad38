"""Rounding weights to the codes that ONNX Runtime's kernels multiply: int8 rows, int4 blocks. Pure.

int8: the result must not depend on the CPU. AVX2 without VNNI multiplies uint8 by int8 and adds
neighbouring products in 16 bits, with saturation. 255 (w1 + w2) fits where two neighbours sum to
at most 128, so the scale is set by the greatest such sum: exact everywhere, and finer than seven
bits for all weights.

int4: blocks of 32 with a scale each. The grid is the Quantizer's: codes -8..7, scales of least
squared error. They are searched for as in `encoder.quant.rounding`, which needs torch; preparing
the bundle must not need it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array32 = NDArray[np.float32]
Rows: TypeAlias = tuple[NDArray[np.int8], Array32]
"""Codes [n_out, n_in] on which no kernel saturates, and scales [n_out]."""

Blocks: TypeAlias = tuple[NDArray[np.uint8], Array32, int]
"""Packed codes, scales [n_rows, n_blocks], and the number of columns in a block."""

MAX_CODE = 127
"""Codes are symmetric around 0; of activations, which are unsigned, around this."""

GELU_ZERO = 20
"""The code of 0. GELU gives at least -.17, so few of its codes are spent on negative values."""

GELU_STEP = np.float32(1 / (255 - GELU_ZERO))
GELU_LEAST_SCALE = np.float32(0.17 / GELU_ZERO)

_MAX_PAIR = 127.0
"""128 would fit, but rounding can add one half to each of two weights."""

_MAX_STORED_PAIR = 128
_TINY = np.finfo(np.float32).tiny
"""Smaller scales would be 0 in float32, or slow to multiply by."""

_CHUNK_ROWS = 1 << 12

BLOCK = 32
_BLOCK_WIDTHS = (128, 64, BLOCK)
_LEAST, _GREATEST = -8, 7
_ZERO = 8
"""Codes are stored unsigned: 8 is zero."""

_SHARES = (1.0, 0.92, 0.85, 0.78, 0.71, 0.64)
_CHUNK_VALUES = 1 << 18
"""Rows are searched in chunks that stay in the processor's cache."""


def quantize_rows(weight: NDArray[np.floating]) -> tuple[NDArray[np.int8], Array32]:
    """Round a weight to the nearest codes that no kernel saturates on (see the module).

    Args:
        weight: [n_out, n_in], as `torch.nn.Linear` has it.

    Returns:
        Codes int8 [n_out, n_in] in -127..127, neighbours summing to -128..128, and scales
        float32 [n_out]; a weight is code times scale.
    """
    rows = np.asarray(weight, np.float64)
    greatest = np.abs(rows).max(axis=1)
    pairs = np.abs(rows[:, :-1] + rows[:, 1:]).max(axis=1, initial=0.0)
    scales = np.maximum(greatest / MAX_CODE, pairs / _MAX_PAIR)
    scales = np.where(scales > 0, np.maximum(scales, _TINY), 1.0).astype(np.float32)
    codes = np.rint(rows / scales[:, None]).clip(-MAX_CODE, MAX_CODE)
    return codes.astype(np.int8), scales


def quantize_table(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round each row to int8: codes [n_rows, n_columns] and scales [n_rows, 1]."""
    codes = np.empty(table.shape, np.int8)
    scales = np.empty((len(table), 1), np.float32)
    for start in range(0, len(table), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        scales[rows] = np.abs(table[rows]).max(axis=1, keepdims=True) / np.float32(MAX_CODE)
        scales[rows][scales[rows] == 0] = 1.0
        codes[rows] = np.rint(table[rows] / scales[rows])
    return codes, scales


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
        best = _least_squares(blocks)
        packed[start : start + step] = _packed(_codes(blocks, best))
        scales[start : start + step] = best[..., 0]
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


@dataclass(frozen=True)
class Layout:
    """Where a weight has its output channels.

    Args:
        shape: of the weight.
        axes: of its output channels: (0,) as in a linear layer or convolution, (1,) as in a
            transposed convolution ([inputs, outputs / n_groups, *kernel]) or in GPT-2's
            [inputs, outputs], (0, 2) for experts in one tensor [experts, inputs, outputs].
        n_groups: groups into which a convolution splits the first axis.
        kind: ``linear``, ``conv``, ``transposed`` (convolution), ``embedding``, ``recurrent`` or
            ``bilinear``: the product that takes it.

    >>> import torch
    >>> layout = Layout((4, 3, 5), (1,), n_groups=2)
    >>> weight = torch.arange(60.0).view(4, 3, 5)
    >>> layout.rows(weight).shape, bool((layout.weight(layout.rows(weight)) == weight).all())
    (torch.Size([6, 10]), True)
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...] = (0,)
    n_groups: int = 1
    kind: str = "linear"

    @property
    def n_rows(self) -> int:
        """Output channels."""
        n_rows = math.prod(self.shape[axis] for axis in self.axes)
        return n_rows if 0 in self.axes else n_rows * self.n_groups

    @property
    def n_columns(self) -> int:
        """Values in a row."""
        return math.prod(self.shape) // self.n_rows

    @property
    def apart(self) -> tuple[int, ...]:
        """The weight's shape with an axis for the groups in front."""
        return (self.n_groups, self.shape[0] // self.n_groups, *self.shape[1:])

    @property
    def order(self) -> tuple[int, ...]:
        """The axes of `apart`, those of the rows first."""
        rows = (0, *(axis + 1 for axis in self.axes))
        return (*rows, *(axis for axis in range(len(self.apart)) if axis not in rows))

    @property
    def ordered(self) -> tuple[int, ...]:
        """The shape of the rows with all axes, in `order`."""
        return tuple(self.apart[axis] for axis in self.order)

    @property
    def back(self) -> tuple[int, ...]:
        """The permutation of `ordered` that gives `apart`."""
        return tuple(self.order.index(axis) for axis in range(len(self.order)))

    def rows(self, weight: Tensor) -> Tensor:
        """A weight [*shape] as [n_rows, n_columns]."""
        return weight.reshape(self.apart).permute(self.order).reshape(self.n_rows, -1)

    def weight(self, rows: Tensor) -> Tensor:
        """Undo `rows`."""
        return rows.reshape(self.ordered).permute(self.back).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class StoredWeight:
    """A layer's weight, seen as rows.

    Args:
        codes: int8 [n_rows, n_columns]; float16 if the weight stays float.
        scales: float32 [n_rows, n_groups]; the groups of a row have the same width. Without
            groups for floats.
        bits: 4, 8 or 16.
        layout: where its rows are in the network's weight.
        block: the width of a group where a row may have only one; None to follow from ``scales``.
    """

    codes: NDArray[Any]
    scales: NDArray[np.float32]
    bits: int
    layout: Layout
    block: int | None = None

    @property
    def group(self) -> int | None:
        """Values that share a scale; None for a row."""
        n_groups = self.scales.shape[1]
        if self.block:
            return self.block
        return None if n_groups <= 1 else -(-self.codes.shape[1] // n_groups)

    @property
    def is_float(self) -> bool:
        """Whether it is stored as floats, without scales."""
        return self.bits == 16

    def in_shape(self) -> NDArray[Any]:
        """The codes in the shape of the weight."""
        layout = self.layout
        return self.codes.reshape(layout.ordered).transpose(layout.back).reshape(layout.shape)

    def values(self) -> NDArray[np.float32]:
        """The weight, float32 [n_rows, n_columns]."""
        n_columns = self.codes.shape[1]
        spread = self.scales.repeat(self.group or n_columns, axis=1)[:, :n_columns]
        values: Array32 = spread * self.codes
        return values

    def blocks(self) -> tuple[NDArray[np.uint8], NDArray[np.float32], int]:
        """4-bit codes as laid out by `pack_blocks`, their scales, and the width of a block."""
        n_columns = self.codes.shape[1]
        width = self.group or next((w for w in _BLOCK_WIDTHS if n_columns % w == 0), BLOCK)
        n_blocks = -(-n_columns // width)
        scales = self.scales if self.group else self.scales.repeat(n_blocks, axis=1)
        return pack_blocks(self.codes, width), scales, width

    def rows(self) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """8-bit codes and a scale for each row [n_rows], as `quantize_rows` gives them.

        Rows on which kernels would saturate, or with several scales, are rounded again.
        """
        codes, scales = quantize_rows(self.values())
        if self.group is None:
            wide = self.codes.astype(np.int16)
            pairs = np.abs(wide[:, :-1] + wide[:, 1:]).max(axis=1, initial=0)
            fits = (np.abs(wide).max(axis=1) <= MAX_CODE) & (pairs <= _MAX_STORED_PAIR)
            codes[fits], scales[fits] = self.codes[fits], self.scales[fits, 0]
        return codes, scales

    def table(self) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """8-bit codes and a scale for each row [n_rows, 1], for look-ups."""
        return quantize_table(self.values()) if self.group else (self.codes, self.scales)
