"""The signatures of the peers. All work on a copy: the model that they get stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

Inputs = Mapping[str, Tensor]
"""A batch: the model's inputs by keyword."""

Run = Callable[[Inputs], Tensor]
"""The model's output for a batch."""

BuildRun = Callable[[nn.Module, Sequence[Inputs]], Run]
"""(model, calibration batches) to something that runs on one thread. The shapes of the first
batch are traced and may vary after, so they must exceed 1."""

RoundWeights = Callable[[nn.Module, Sequence[Inputs], int, int | None], nn.Module]
"""(model, calibration batches, bits, group size or None for whole output channels) to a float32
model whose weights are rounded; layers that the peer cannot round stay as they are."""

Loss = Callable[[Tensor], Tensor]
"""A scalar of the model's output."""

Allocate = Callable[
    [nn.Module, Sequence[Inputs], Sequence[float], Sequence[int], Loss],
    Mapping[float, Mapping[str, int]],
]
"""(model, calibration batches, average widths, widths to choose from, loss) to the width in bits
of each layer, by average width."""
