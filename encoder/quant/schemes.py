"""How a weight is stored: its bits, and how many values share a scale."""

from __future__ import annotations

import re
from dataclasses import dataclass

from encoder.errors import InputError

_WIDTHS = (3, 4, 5, 6, 8)
_GROUPS = (32, 64, 128)
_NAME = re.compile(r"int(\d+)(?:g(\d+))?|fp(16|32)")


@dataclass(frozen=True, order=True)
class Scheme:
    """A storage format. Integers are signed and symmetric: a value is code × scale.

    Args:
        bits: 3, 4, 5, 6 or 8 (integers), 16 or 32 (floats).
        group: how many values along a row share one scale; None for the whole row, which is
            one output channel.

    >>> Scheme(4, 64).name, Scheme.parse("fp16").bits, Scheme(4).largest_code
    ('int4g64', 16, 7)
    """

    bits: int
    group: int | None = None

    @classmethod
    def parse(cls, name: str | Scheme) -> Scheme:
        """Read ``int3`` to ``int6``, ``int8``, ``int4g32|g64|g128``, ``fp16`` or ``fp32``.

        Raises:
            InputError: the name is of no known scheme.
        """
        if isinstance(name, Scheme):
            return name
        if match := _NAME.fullmatch(name.lower()):
            bits, group, floating = match.groups()
            if floating:
                return cls(int(floating))
            if int(bits) in _WIDTHS and (group is None or int(group) in _GROUPS):
                return cls(int(bits), int(group) if group else None)
        raise InputError(
            "scheme",
            got=repr(name),
            wanted="int3, int4, int5, int6 or int8, with g32, g64 or g128 for groups (int4g64); "
            "fp16 or fp32",
        )

    @property
    def name(self) -> str:
        """The name, as `parse` reads it."""
        if not self.is_integer:
            return f"fp{self.bits}"
        return f"int{self.bits}" + (f"g{self.group}" if self.group else "")

    @property
    def is_integer(self) -> bool:
        """Whether values are stored as integer codes."""
        return self.bits < 16

    @property
    def largest_code(self) -> int:
        """Codes range from ``-largest_code - 1`` to this."""
        return int(2 ** (self.bits - 1) - 1)

    def n_groups(self, n_columns: int) -> int:
        """Scales of one row."""
        return -(-n_columns // self.group) if self.group else 1

    def fits(self, n_columns: int) -> bool:
        """Whether a row divides into whole groups."""
        return self.group is None or n_columns % self.group == 0

    def row_bytes(self, n_columns: int) -> int:
        """Bytes of one row, without its scales; integer rows end on a whole byte."""
        return -(-n_columns * self.bits // 8)

    def nbytes(self, n_rows: int, n_columns: int) -> int:
        """Bytes of a weight [n_rows, n_columns], including scales.

        >>> Scheme(4).nbytes(2, 5), Scheme(32).nbytes(2, 5)
        (10, 40)
        """
        scales = SCALE_BYTES * self.n_groups(n_columns) if self.is_integer else 0
        return n_rows * (self.row_bytes(n_columns) + scales)


SCALE_BYTES = 2
"""Scales are kept as float16."""

FP32, FP16, INT8, INT6, INT5, INT4, INT3 = (Scheme(bits) for bits in (32, 16, 8, 6, 5, 4, 3))
