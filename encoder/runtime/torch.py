"""Run a torch module as a `Session`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from encoder.runtime.base import Array

if TYPE_CHECKING:
    from torch import nn


class TorchSession:
    """A `Session` over a torch module in inference mode.

    Args:
        module: takes tensors by keyword, returns a tensor or a tuple of them.
        device: where it runs, such as ``"cpu"`` or ``"cuda:0"``.
    """

    def __init__(self, module: nn.Module, *, device: str = "cpu") -> None:
        self._module = module.to(device).eval()
        self._device = device

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """See `Session.run`."""
        import torch

        with torch.inference_mode():
            tensors = {
                name: torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
                for name, array in inputs.items()
            }
            outputs = self._module(**tensors)
        if isinstance(outputs, torch.Tensor):
            outputs = (outputs,)
        return [output.cpu().numpy() for output in outputs]


@contextmanager
def threads(n: int | None) -> Iterator[None]:
    """Let torch divide this thread's work among ``n`` threads; None leaves it as it is.

    OpenMP keeps the number for each thread that asks, so others are not disturbed.
    """
    import torch

    before = torch.get_num_threads()
    if n in (None, before):
        yield
        return
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
