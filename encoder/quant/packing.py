"""Integer codes to bytes and back, row by row."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_RAW = -15
"""Deflate without a header, with all of its window."""


def pack(codes: Tensor, bits: int) -> Tensor:
    """Pack signed codes; each row starts on a byte, so that a row can be read alone.

    The first code lies in the lowest bits, as ONNX lays out INT4.

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
    """Packed codes in a Huffman code (Huffman, 1952) of their own: uint8 [n].

    What rounding leaves is seldom near the ends of the range: INT4 takes about 3.5 bits so.

    >>> import torch
    >>> packed = pack(torch.tensor([[0, 0, 0, 0, 1, -1, 0, 0]], dtype=torch.int8).repeat(64, 9), 4)
    >>> short = shorten(packed, 4, 72)
    >>> short.nbytes < packed.nbytes / 2, bool((lengthen(short, 4, (64, 72)) == packed).all())
    (True, True)
    """
    import torch

    codes = unpack(packed, bits, n_columns).contiguous().numpy().tobytes()
    deflate = zlib.compressobj(9, zlib.DEFLATED, _RAW, 9, zlib.Z_HUFFMAN_ONLY)
    return torch.frombuffer(bytearray(deflate.compress(codes) + deflate.flush()), dtype=torch.uint8)


def lengthen(short: Tensor, bits: int, shape: tuple[int, int]) -> Tensor:
    """Undo `shorten`.

    Args:
        short: uint8 [n].
        bits: of a code.
        shape: rows and columns of the codes.

    Raises:
        ValueError: it holds no codes, or others than so many.
    """
    import torch

    n_codes = shape[0] * shape[1]
    try:
        codes = zlib.decompressobj(_RAW).decompress(short.numpy().tobytes(), n_codes + 1)
    except zlib.error as error:
        raise ValueError(f"codes that cannot be read ({error})") from error
    if len(codes) != n_codes:
        raise ValueError(f"{len(codes)} codes instead of {n_codes}")
    return pack(torch.frombuffer(bytearray(codes), dtype=torch.int8).view(shape), bits)


def _block(bits: int) -> tuple[int, int]:
    """The fewest codes that fill whole bytes, and those bytes."""
    return {3: (8, 3), 4: (2, 1), 5: (8, 5), 6: (4, 3)}[bits]


def _word(block_bytes: int) -> torch.dtype:
    """An integer that holds a block."""
    import torch

    return torch.int32 if block_bytes < 4 else torch.int64
