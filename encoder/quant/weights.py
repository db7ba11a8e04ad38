"""A quantized weight: packed codes and their scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder.quant.packing import pack, unpack
from encoder.quant.schemes import Scheme

if TYPE_CHECKING:
    from torch import Tensor


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
