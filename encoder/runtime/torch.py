"""Run a torch module as a `Session`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from encoder.runtime.base import Array

if TYPE_CHECKING:
    from torch import nn

S = TypeVar("S")
T = TypeVar("T")


class TorchSession:
    """A `Session` over a torch module on the CPU, which returns a tensor or a tuple of them."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module.eval()

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        import torch

        with torch.inference_mode():
            tensors = {
                name: torch.from_numpy(np.ascontiguousarray(array))
                for name, array in inputs.items()
            }
            outputs = self._module(**tensors)
        if isinstance(outputs, torch.Tensor):
            outputs = (outputs,)
        return [output.cpu().numpy() for output in outputs]


@contextmanager
def threads(n: int | None) -> Iterator[None]:
    """Let torch divide this thread's work among ``n`` threads; None leaves it as it is.

    OpenMP keeps the number per calling thread, so other threads are not affected.
    """
    import torch

    n_before = torch.get_num_threads()
    if n in (None, n_before):
        yield
        return
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(n_before)


def one_gpu(device: str | None, process: int) -> str | None:
    """The GPU of one of several processes, by its number from 0.

    ``cuda`` is dealt out over the machine's GPUs in turn; any other device stays as it is.
    """
    if device != "cuda":
        return device
    import torch

    n_gpus = torch.cuda.device_count()
    return f"cuda:{process % n_gpus}" if n_gpus else device


def ahead(make: Callable[[S], T], items: Sequence[S], n_threads: int) -> Iterator[T]:
    """Make something from each item, in order, while earlier results are being used.

    At most ``n_threads`` results are being made or waiting at a time.
    """
    remaining = iter(items)
    with ThreadPoolExecutor(n_threads, thread_name_prefix="ahead") as threads:
        pending = deque(threads.submit(make, item) for item in islice(remaining, n_threads))
        while pending:
            result = pending.popleft().result()
            pending.extend(threads.submit(make, item) for item in islice(remaining, 1))
            yield result


def moved(features: Mapping[str, Any], device: Any) -> dict[str, Any]:
    """The features with their tensors moved to a device.

    A GPU reads them from pinned memory while the processor goes on.
    """
    import torch

    pinned = device.type == "cuda"

    def move(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return (value.pin_memory() if pinned else value).to(device, non_blocking=pinned)

    return {name: move(value) for name, value in features.items()}
