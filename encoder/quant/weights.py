"""Quantized weights: integer codes packed into bytes, and their scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder.quant.schemes import Scheme

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def pack(codes: Tensor, bits: int) -> Tensor:
    """Pack signed codes; each row starts on a byte, so that a row can be read alone.

    The first code is in the lowest bits, as in ONNX's layout of INT4.

    Args:
        codes: int8 [n_rows, n_columns], within the range of ``bits``.
        bits: 3, 4, 5, 6 or 8.

    Returns:
        uint8 [n_rows, ceil(n_columns * bits / 8)].
    """
    import torch

    if bits == 8:
        return codes.contiguous().view(torch.uint8)
    n_rows, n_columns = codes.shape
    per_block, block_bytes = _block(bits)
    word = _word(block_bytes)
    n_blocks = -(-n_columns // per_block)
    padded = torch.zeros(n_rows, n_blocks * per_block, dtype=word)
    padded[:, :n_columns] = codes.to(word) & (2**bits - 1)
    shifts = torch.arange(per_block, dtype=word) * bits
    words = (padded.view(n_rows, n_blocks, per_block) << shifts).sum(2, dtype=word)
    byte_shifts = torch.arange(block_bytes, dtype=word) * 8
    in_bytes = ((words.unsqueeze(2) >> byte_shifts) & 255).to(torch.uint8)
    return in_bytes.view(n_rows, -1)[:, : -(-n_columns * bits // 8)].contiguous()


def unpack(packed: Tensor, bits: int, n_columns: int) -> Tensor:
    """Undo `pack`: int8 codes [n_rows, n_columns]."""
    import torch

    if bits == 8:
        return packed.view(torch.int8)
    if bits == 4:  # shifts of int8 carry the sign
        pairs = torch.stack([(packed << 4).view(torch.int8) >> 4, packed.view(torch.int8) >> 4], 2)
        return pairs.flatten(1)[:, :n_columns]
    per_block, block_bytes = _block(bits)
    word = _word(block_bytes)
    n_blocks = -(-n_columns // per_block)
    missing = n_blocks * block_bytes - packed.shape[1]
    in_bytes = torch.nn.functional.pad(packed, (0, missing)).to(word)
    byte_shifts = torch.arange(block_bytes, dtype=word, device=packed.device) * 8
    words = (in_bytes.view(-1, n_blocks, block_bytes) << byte_shifts).sum(2, dtype=word)
    shifts = torch.arange(per_block, dtype=word, device=packed.device) * bits
    codes = (words.unsqueeze(2) >> shifts) & (2**bits - 1)
    signed = codes - ((codes >> (bits - 1)) << bits)
    flat: Tensor = signed.view(-1, n_blocks * per_block)[:, :n_columns].to(torch.int8)
    return flat


def _block(bits: int) -> tuple[int, int]:
    """The least number of codes that fill whole bytes, and the number of these bytes."""
    return {3: (8, 3), 4: (2, 1), 5: (8, 5), 6: (4, 3)}[bits]


def _word(block_bytes: int) -> torch.dtype:
    """An integer type that holds a block."""
    import torch

    return torch.int32 if block_bytes < 4 else torch.int64


@dataclass(frozen=True, eq=False)
class Rounded:
    """The result of rounding a weight [n_rows, n_columns].

    Args:
        codes: int8 [n_rows, n_columns].
        scales: positive float32 [n_rows, n_groups], each exact in float16 (`float16_scales`).
    """

    codes: Tensor
    scales: Tensor

    def dequantize(self) -> Tensor:
        """float32 [n_rows, n_columns]."""
        return spread(self.scales, self.codes.shape[1]) * self.codes


@dataclass(frozen=True, eq=False)
class PackedWeight:
    """A weight as it is stored.

    Args:
        scheme: how it is stored.
        packed: uint8 [n_rows, row_bytes] for integers, else float [n_rows, n_columns].
        scales: float16 [n_rows, n_groups]; empty for floats.
        n_columns: of the weight, seen as rows.
    """

    scheme: Scheme
    packed: Tensor
    scales: Tensor
    n_columns: int

    @classmethod
    def of_codes(cls, rounded: Rounded, scheme: Scheme) -> PackedWeight:
        """Store the result of a rounding method."""
        packed = pack(rounded.codes, scheme.bits)
        return cls(scheme, packed, rounded.scales.half(), rounded.codes.shape[1])

    @classmethod
    def of_floats(cls, rows: Tensor, scheme: Scheme) -> PackedWeight:
        """Store rows [n_rows, n_columns] as floats."""
        import torch

        packed = rows.half() if scheme.bits == 16 else rows.float()
        return cls(scheme, packed, torch.zeros(0, dtype=torch.float16), rows.shape[1])

    def dequantize(self) -> Tensor:
        """float32 [n_rows, n_columns]."""
        if not self.scheme.is_integer:
            return self.packed.float()
        codes = unpack(self.packed, self.scheme.bits, self.n_columns)
        return spread(self.scales.float(), self.n_columns) * codes

    def take(self, rows: Tensor) -> PackedWeight:
        """The rows with these indices [n], still packed."""
        scales = self.scales[rows] if self.scheme.is_integer else self.scales
        return PackedWeight(self.scheme, self.packed[rows], scales, self.n_columns)

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        return self.packed.nbytes + self.scales.nbytes


def spread(scales: Tensor, n_columns: int) -> Tensor:
    """Repeat scales [n_rows, n_groups] over their columns: [n_rows, n_columns] or [n_rows, 1]."""
    if scales.shape[1] == 1:
        return scales
    group = -(-n_columns // scales.shape[1])
    return scales.repeat_interleave(group, dim=1)[:, :n_columns]


def float16_scales(scales: Tensor) -> Tensor:
    """Round scales to float16 values, still as float32; none becomes 0 or infinite."""
    import torch

    limits = torch.finfo(torch.float16)
    return scales.clamp(limits.tiny, limits.max).half().float()
