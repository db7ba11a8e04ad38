"""How a layer's inputs vary: the mean of x xᵀ, and what GPTQ needs of it.

Importing this imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

_SHRINKAGE = 0.02
_DAMPING = 0.01
_MAX_DAMPING = 1.0


@dataclass(frozen=True, eq=False)
class Gram:
    """The mean over a layer's inputs of x xᵀ; a convolution's input is a patch.

    Args:
        values: float32 [n_conv_groups, n_columns, n_columns].
        shrinkage: how far to go towards the diagonal, 0 to 1: what few inputs say about pairs
            of columns is partly noise (Ledoit & Wolf, 2004).
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
    def factor(self) -> Tensor | None:
        """Upper triangular U with UᵀU the inverse of `stable`, rows and columns in `order`.

        All widths share it. None where no damping makes the matrix positive definite.
        """
        rows = self.order.unsqueeze(2).expand_as(self.values)
        sorted_ = self.stable.gather(1, rows).gather(2, rows.transpose(1, 2))
        damping = 0.0
        while damping < _MAX_DAMPING:
            factor = _inverse_factor(sorted_ + _eye(sorted_) * self._floor * damping / self.damping)
            if factor is not None:
                return factor
            damping = max(10 * damping, 10 * self.damping)
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
