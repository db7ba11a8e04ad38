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
