"""How a layer's inputs vary: the mean of x xᵀ, and what GPTQ needs of it.

Importing this imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

_SHRINKAGE, _DAMPING = 0.05, 0.01
"""Among .0 to .1 and .001 to .03, these gave the least error on held-out inputs, by a little."""

_MORE_DAMPING = (0, 10, 100)
"""Multiples of the damping to add where a Cholesky factorization fails."""


@dataclass(frozen=True, eq=False)
class Gram:
    """The mean over a layer's inputs of x xᵀ; a convolution's input is a patch.

    Args:
        values: float32 [n_conv_groups, n_columns, n_columns].
        shrinkage: how far to shrink towards the diagonal, 0 to 1: what few inputs show about
            pairs of columns is partly noise (Ledoit & Wolf, 2004).
        damping: what is added to the diagonal, as a share of its mean.
    """

    values: Tensor
    shrinkage: float = _SHRINKAGE
    damping: float = _DAMPING

    @cached_property
    def diagonal(self) -> Tensor:
        """The mean square of each column, [n_conv_groups, n_columns]."""
        return self.values.diagonal(dim1=1, dim2=2)

    def importance(self, n_rows: int) -> Tensor:
        """The damped mean square of each column, row by row: [1 or n_rows, n_columns]."""
        damped = self.diagonal + self._floor.squeeze(2)
        n_groups = damped.shape[0]
        return damped if n_groups == 1 else damped.repeat_interleave(n_rows // n_groups, dim=0)

    @property
    def _floor(self) -> Tensor:
        return self.diagonal.mean(1)[:, None, None].clamp_min(1e-12) * self.damping

    @cached_property
    def order(self) -> Tensor:
        """Columns by falling mean square, [n_conv_groups, n_columns] (GPTQ's act-order)."""
        return self.diagonal.argsort(dim=1, descending=True, stable=True)

    @cached_property
    def stable(self) -> Tensor:
        """The Gram matrix, shrunk and damped, in the columns' own order."""
        shrunk = self.values * (1 - self.shrinkage)
        extra = self.diagonal * self.shrinkage + self._floor.squeeze(2)
        return shrunk + torch.diag_embed(extra)

    @cached_property
    def sorted(self) -> Tensor:
        """`stable`, rows and columns in `order`."""
        rows = self.order.unsqueeze(2).expand_as(self.values)
        return self.stable.gather(1, rows).gather(2, rows.transpose(1, 2))

    @cached_property
    def factor(self) -> Tensor | None:
        """Upper triangular U with UᵀU the inverse of `stable`, rows and columns in `order`.

        All bit widths share it. None where no damping makes the matrix positive definite.
        """
        for more in _MORE_DAMPING:
            factor = _inverse_factor(self.sorted + _eye(self.values) * self._floor * more)
            if factor is not None:
                return factor
        return None


def _inverse_factor(matrix: Tensor) -> Tensor | None:
    """Upper U with UᵀU = matrix⁻¹, by one Cholesky in reversed order; None if it fails.

    With the order reversed, matrix = V Vᵀ for an upper V, so U = V⁻¹: no inverse is formed.
    """
    lower, failed = torch.linalg.cholesky_ex(matrix.flip(1, 2))
    if failed.any() or not torch.isfinite(lower).all():
        return None
    upper = lower.flip(1, 2)
    identity = _eye(matrix).expand_as(matrix)
    inverse: Tensor = torch.linalg.solve_triangular(upper, identity, upper=True)
    return inverse


def _eye(matrix: Tensor) -> Tensor:
    return torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def to_columns(rows: Tensor, gram: Gram) -> Tensor:
    """Rows [n_rows, n_columns] as [n_conv_groups, n_columns in act-order, rows of a group]."""
    n_groups, n_columns = gram.order.shape
    columns = rows.view(n_groups, -1, n_columns).transpose(1, 2)
    return columns.gather(1, gram.order.unsqueeze(2).expand_as(columns))


def to_rows(columns: Tensor, gram: Gram) -> Tensor:
    """Undo `to_columns`."""
    order = gram.order.unsqueeze(2).expand_as(columns)
    unsorted = torch.empty_like(columns).scatter_(1, order, columns)
    return unsorted.transpose(1, 2).reshape(-1, columns.shape[1])
