"""How a weight's values are seen as rows, one per output channel.

Importing this imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Where a weight has its output channels.

    Args:
        shape: of the weight.
        axis: of its output channels: 0 as in a linear layer or convolution, 1 as in a transposed
            convolution ([inputs, outputs / n_groups, *kernel]) or in GPT-2's [inputs, outputs].
        n_groups: groups into which a transposed convolution splits its inputs and outputs.

    >>> import torch
    >>> layout = Layout((4, 3, 5), axis=1, n_groups=2)
    >>> weight = torch.arange(60.0).view(4, 3, 5)
    >>> layout.rows(weight).shape, bool((layout.weight(layout.rows(weight)) == weight).all())
    (torch.Size([6, 10]), True)
    """

    shape: tuple[int, ...]
    axis: int = 0
    n_groups: int = 1

    @property
    def n_rows(self) -> int:
        """Output channels."""
        return self.shape[0] if self.axis == 0 else self.shape[1] * self.n_groups

    @property
    def n_columns(self) -> int:
        """Values in a row."""
        n_values = 1
        for size in self.shape:
            n_values *= size
        return n_values // self.n_rows

    def rows(self, weight: Tensor) -> Tensor:
        """A weight [*shape] as [n_rows, n_columns]."""
        if self.axis == 0:
            return weight.flatten(1)
        grouped = weight.unflatten(0, (self.n_groups, -1))
        rows: Tensor = grouped.transpose(1, 2).flatten(0, 1).flatten(1)
        return rows

    def weight(self, rows: Tensor) -> Tensor:
        """Undo `rows`."""
        if self.axis == 0:
            return rows.view(self.shape)
        grouped = rows.view(*self.grouped)
        return grouped.transpose(1, 2).reshape(self.shape)

    @property
    def grouped(self) -> tuple[int, ...]:
        """The shape with separate axes for groups, inputs and outputs; for axis 1 only."""
        n_inputs = self.shape[0] // self.n_groups
        return (self.n_groups, self.shape[1], n_inputs, *self.shape[2:])
