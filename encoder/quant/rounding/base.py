"""What every rounding method shares: the grid, and rows seen as groups.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from encoder.errors import InputError
from encoder.quant.schemes import Scheme
from encoder.quant.weights import Rounded, spread

if TYPE_CHECKING:
    from encoder.quant.rounding.gram import Gram


Choose = Callable[[Tensor, Tensor], Tensor]
"""Returns codes. Takes the wished values [n_conv_groups, n_rows], which it may modify, and, in the
same shape, what a miss by one code adds to the root of the squared error of each row's output."""


class Rounding(Protocol):
    """Turns a weight's rows [n_rows, n_columns] into codes and scales.

    ``gram`` describes how the layer's inputs vary; a method may ignore it.
    """

    def __call__(self, rows: Tensor, scheme: Scheme, gram: Gram | None = None) -> Rounded: ...


def check(rows: Tensor, scheme: Scheme) -> None:
    """Check that rows have an integer grid.

    Raises:
        InputError: a float scheme, or a group that does not divide the rows.
    """
    if not scheme.is_integer:
        raise InputError(
            "scheme", got=scheme.name, wanted="an integer one: floats need no rounding"
        )
    if not scheme.fits(rows.shape[1]):
        raise InputError(
            "scheme",
            got=f"{scheme.name} for rows of {rows.shape[1]} values",
            wanted=f"a group that divides {rows.shape[1]}, or int{scheme.bits} (a scale per row)",
        )


def in_groups(rows: Tensor, scheme: Scheme) -> Tensor:
    """View rows [n_rows, n_columns] as [n_rows, n_groups, group]: each with one scale."""
    return rows.reshape(rows.shape[0], scheme.n_groups(rows.shape[1]), -1)


def to_codes(values: Tensor, scales: Tensor, scheme: Scheme) -> Tensor:
    """The nearest codes, still float; ``scales`` broadcasts over ``values``."""
    largest = scheme.largest_code
    return (values / scales).round_().clamp_(-largest - 1, largest)


def to_nearest(rows: Tensor, scales: Tensor, scheme: Scheme) -> Rounded:
    """Round each value to the nearest point of the grid of ``scales`` [n_rows, n_groups]."""
    import torch

    codes = to_codes(rows, spread(scales, rows.shape[1]), scheme)
    return Rounded(codes.to(torch.int8), scales)


def nearest(scheme: Scheme) -> Choose:
    """A function that chooses the scheme's nearest code, whatever a miss adds."""
    largest = scheme.largest_code
    return lambda wishes, _: wishes.round_().clamp_(-largest - 1, largest)
