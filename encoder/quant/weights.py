"""Quantized weights: integer codes packed into bytes, and their scales."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder.quant.schemes import Scheme

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_RAW = -15
"""Deflate without a header, with the full window."""
_FINENESS = (0.0, 1.0, 2.0)
"""Sizes of rows per octave to try; the shortest file is kept."""
_SMALLEST = -6
"""The least logarithm to base 2 of a row's mean code; smaller ones count as this."""


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


def shorten(packed: Tensor, bits: int, n_columns: int) -> Tensor:
    """Packed codes as Huffman codes (Huffman, 1952) fitted to them: uint8 [n].

    Rounded values are seldom near the ends of the range: this way INT4 takes about 3.5 bits. Rows
    with codes of about the same size (`sizes_of_rows`) share a Huffman code, where that is shorter:
    first comes the size of each row, then the rows, the smaller ones first.

    >>> import torch
    >>> packed = pack(torch.tensor([[0, 0, 0, 0, 1, -1, 0, 0]], dtype=torch.int8).repeat(64, 9), 4)
    >>> short = shorten(packed, 4, 72)
    >>> short.nbytes < packed.nbytes / 2, bool((lengthen(short, 4, (64, 72)) == packed).all())
    (True, True)
    """
    import torch

    codes = unpack(packed, bits, n_columns).contiguous()
    streams = [_deflated(codes, sizes_of_rows(codes, finely)) for finely in _FINENESS]
    return torch.frombuffer(bytearray(min(streams, key=len)), dtype=torch.uint8)


def sizes_of_rows(codes: Tensor, finely: float) -> Tensor:
    """How large the codes of each row are: uint8 [n_rows], ``finely`` sizes per octave.

    >>> import torch
    >>> sizes_of_rows(torch.tensor([[0, 0], [1, -1], [-32, 32], [31, 33]]), 2).tolist()
    [0, 12, 22, 22]
    """
    import torch

    mean = codes.float().abs().mean(1).clamp_min(2.0**_SMALLEST)
    return ((mean.log2() - _SMALLEST) * finely).round().to(torch.uint8)


def lengthen(short: Tensor, bits: int, shape: tuple[int, int]) -> Tensor:
    """Undo `shorten`.

    Args:
        short: uint8 [n].
        bits: of a code.
        shape: rows and columns of the codes.

    Raises:
        ValueError: it holds no codes, or the wrong number of them.
    """
    import torch

    n_rows, n_codes = shape[0], shape[0] * shape[1]
    try:
        content = zlib.decompressobj(_RAW).decompress(short.numpy().tobytes(), n_rows + n_codes + 1)
    except zlib.error as error:
        raise ValueError(f"codes that cannot be read ({error})") from error
    if len(content) != n_rows + n_codes:
        raise ValueError(f"{len(content) - n_rows} codes instead of {n_codes}")
    sizes, flat = torch.frombuffer(bytearray(content), dtype=torch.int8).split((n_rows, n_codes))
    codes = torch.empty(shape, dtype=torch.int8)
    codes[sizes.argsort(stable=True)] = flat.view(shape)
    return pack(codes, bits)


def _deflated(codes: Tensor, sizes: Tensor) -> bytes:
    """Sizes and codes; where the size changes, a new Huffman code begins."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, _RAW, 9, zlib.Z_HUFFMAN_ONLY)
    parts = [deflate.compress(sizes.numpy().tobytes())]
    for size in sizes.unique():
        parts.append(deflate.flush(zlib.Z_SYNC_FLUSH))
        parts.append(deflate.compress(codes[sizes == size].numpy().tobytes()))
    return b"".join([*parts, deflate.flush()])


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
