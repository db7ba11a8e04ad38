"""Run a model again and again with one weight changed, without recomputing what comes before it.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from encoder.errors import ModelError
from encoder.quant.calibration import Batch, forward, tensors_in
from encoder.quant.layers import Layer
from encoder.quant.uses import Lookups

_MAX_BYTES = 1 << 30
_LARGEST_SHARE = 0.2
"""For a module with a larger share of the layers than this, the outputs of its parts are kept."""


@dataclass
class _Trace:
    """One batch's forward: when each block ended and with what, when each layer began."""

    ended: dict[str, tuple[int, Any]] = field(default_factory=dict)
    began: dict[str, int] = field(default_factory=dict)
    clock: int = 0

    def tick(self) -> int:
        self.clock += 1
        return self.clock


class PrefixRuns:
    """A model's outputs on some batches, and again with one layer's weight changed.

    In the first run the outputs of its blocks are kept. A later run reuses those of the blocks
    that had ended before the changed layer began, and computes the rest. A block is always
    computed if it is called twice, if its output is changed in place later, or if there is no room
    for it; so is everything if the layer's weight is used without calling its module.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Mapping[str, Layer],
        batches: Sequence[Batch],
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        self._model = model
        self._batches = batches
        self._blocks = dict(_blocks(model, "", {layer.name for layer in layers.values()}))
        self._layers = layers
        self._room = max_bytes
        self.outputs: list[Tensor] = []
        """The unchanged model's outputs, one for each batch."""
        self._traces: list[_Trace] = []
        self._lookups: dict[int, list[Tensor]] = {}
        """Ids by the address of their table."""
        for batch in batches:
            output, trace = self._record(batch)
            self.outputs.append(output)
            self._traces.append(trace)

    def run(self, layer: Layer, weight: Tensor) -> Iterator[Tensor]:
        """Outputs, batch by batch, with ``weight`` [*layer.weight.shape] in the layer."""
        with changed(layer, weight):
            for batch, trace in zip(self._batches, self._traces, strict=True):
                began = [trace.began.get(name, 0) for name, _ in layer.owners]
                done = {
                    name: output for name, (end, output) in trace.ended.items() if end < min(began)
                }
                with self._skipping(done), no_grad():
                    yield forward(self._model, batch).float()

    def looked_up(self, layer: Layer) -> Tensor | None:
        """Ids of all rows that these batches look up in an embedding; None if not known."""
        ids = self._lookups.get(layer.weight.data_ptr())
        if not layer.only_looked_up or not ids:
            return None
        return torch.unique(torch.cat(ids))  # type: ignore[no-any-return]

    def _record(self, batch: Batch) -> tuple[Tensor, _Trace]:
        trace = _Trace()
        calls: dict[str, list[int]] = {}
        outputs: dict[str, tuple[Any, list[int]]] = {}

        def end(name: str) -> Callable[..., None]:
            def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
                calls.setdefault(name, []).append(trace.tick())
                versions = [tensor._version for tensor in tensors_in(output)]
                outputs[name] = _own(output), versions

            return note

        def begin(name: str) -> Callable[..., None]:
            def note(_module: nn.Module, _inputs: Any) -> None:
                trace.began.setdefault(name, trace.tick())

            return note

        def look_up(table: Tensor, ids: Tensor, _rows: Tensor) -> None:
            self._lookups.setdefault(table.data_ptr(), []).append(ids.flatten())

        names = {name for layer in self._layers.values() for name, _ in layer.owners}
        hooks = [
            *(block.register_forward_hook(end(name)) for name, block in self._blocks.items()),
            *(self._model.get_submodule(n).register_forward_pre_hook(begin(n)) for n in names),
        ]
        try:
            with no_grad(), Lookups(look_up):
                output = forward(self._model, batch).float()
        finally:
            for hook in hooks:
                hook.remove()
        for name, (value, versions) in outputs.items():
            size = sum(tensor.nbytes for tensor in tensors_in(value))
            intact = versions == [tensor._version for tensor in tensors_in(value)]
            if len(calls[name]) == 1 and intact and size <= self._room:
                trace.ended[name] = calls[name][0], value
                self._room -= size
        return output, trace

    @contextmanager
    def _skipping(self, done: Mapping[str, Any]) -> Iterator[None]:
        """While entered, these blocks return what they returned before."""
        replaced: list[tuple[nn.Module, Any]] = []
        try:
            for name, output in done.items():
                module = self._blocks[name]
                replaced.append((module, module.__dict__.get("forward")))
                module.__dict__["forward"] = _giving(output)
            yield
        finally:
            for module, forward in replaced:
                del module.__dict__["forward"]
                if forward is not None:
                    module.__dict__["forward"] = forward


@contextmanager
def no_grad() -> Iterator[None]:
    """Without gradients, but not in inference mode, whose tensors do not record changes."""
    with torch.inference_mode(mode=False), torch.no_grad():
        yield


@contextmanager
def changed(layer: Layer, weight: Tensor) -> Iterator[None]:
    """While entered, the layer (and what is tied to it) has this weight; no copy is made."""
    parameter = layer.weight
    original = parameter.data
    parameter.data = weight.to(original.dtype).view_as(original)
    try:
        yield
    finally:
        parameter.data = original


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """While entered, the model and all its parts are in eval mode."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def check_finite(output: Tensor, where: str) -> None:
    """Refuse a model whose own output cannot serve as the reference.

    Raises:
        ModelError: ``output`` holds NaN or infinity.
    """
    if not torch.isfinite(output).all():
        raise ModelError(
            f"The model itself returns NaN or infinity on {where}.",
            remedy="Check that batch and the checkpoint; nothing can be compared with it.",
        )


def _giving(output: Any) -> Callable[..., Any]:
    return lambda *_args, **_kwargs: _own(output)


def _own(output: Any) -> Any:
    """A copy that later blocks cannot add to: sentence-transformers passes one dict through all."""
    return copy(output) if isinstance(output, (MutableMapping, list)) else output


def _blocks(module: nn.Module, prefix: str, layers: set[str]) -> Iterator[tuple[str, nn.Module]]:
    """Modules that together make up the model, each with a small share of its layers."""
    for child_name, child in module.named_children():
        name = f"{prefix}.{child_name}" if prefix else child_name
        n_layers = sum(layer == name or layer.startswith(f"{name}.") for layer in layers)
        holder = isinstance(child, (nn.ModuleList, nn.ModuleDict))  # is never called itself
        if holder or (
            n_layers > _LARGEST_SHARE * len(layers) and any(True for _ in child.children())
        ):
            yield from _blocks(child, name, layers)
        else:
            yield name, child
