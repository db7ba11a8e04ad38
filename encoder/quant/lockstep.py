"""Many batches through one model in step: all pause at a layer before it is solved.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any

import torch
from torch import Tensor, nn

from encoder.quant.calibration import Batch, run
from encoder.quant.layers import Layer, find_layers
from encoder.quant.rounding.calls import Call, LayerCalls
from encoder.quant.rounding.collect import DriftSum, GramSum, same_input
from encoder.quant.rounding.drift import Drift
from encoder.quant.rounding.gram import Gram


class Stop:
    """Calls of one layer, at which batches wait.

    Args:
        calls: of the layer, one for each batch that waits.
        originals: the same calls in the original model; empty if it does not come along.
    """

    def __init__(self, calls: Sequence[Call], originals: Sequence[Call]) -> None:
        self.layer = calls[0].layer
        self.calls = calls
        self.originals = originals

    def sees_what(self, other: Stop) -> bool:
        """Whether these calls have the very inputs of another layer's calls."""
        if len(self.calls) != len(other.calls):
            return False
        return all(map(same_input, self.calls, other.calls))

    def gram(self) -> Gram:
        """Of the inputs."""
        total = GramSum()
        for call in self.calls:
            total.add(call)
        return total.mean()

    def drift(self) -> Drift | None:
        """Of the inputs, if the original model comes along."""
        if len(self.originals) != len(self.calls):
            return None
        total = DriftSum()
        for call, original in zip(self.calls, self.originals, strict=True):
            total.add(call, original)
        return total.mean()


Solve = Callable[[Stop], Tensor | None]
"""Gives the weight that the waiting calls go on with; None for the one that they have."""


def in_step(
    model: nn.Module,
    original: nn.Module | None,
    names: Collection[str],
    batches: Sequence[Batch],
    solve: Solve,
) -> None:
    """Run each batch once through the model, and pause at each layer.

    One forward runs at a time, each in a thread of its own, since a forward cannot be left and
    entered again otherwise. Where batches take different ways, the layer at which the first one
    waits is solved first.

    Args:
        model: in eval mode.
        original: an unchanged copy of it that runs along, or None.
        names: of the layers at which to pause.
        batches: inputs; their activations are all alive at once.
        solve: called for each layer, in the order of execution.

    Raises:
        ModelError: a forward fails.
    """
    watched = _layers(model, names), _layers(original, names) if original is not None else []
    walks = [_Pair(model, original, watched, batch) for batch in batches]
    try:
        waiting = [walk for walk in walks if walk.go_on(None)]
        while waiting:
            first = waiting[0].layer_name
            here = [walk for walk in waiting if walk.layer_name == first]
            weight = solve(_stop(here))
            ended = {walk for walk in here if not walk.go_on(weight)}
            waiting = [walk for walk in waiting if walk not in ended]
    finally:
        for walk in walks:
            walk.end()


def _layers(model: nn.Module, names: Collection[str]) -> list[Layer]:
    return [layer for name, layer in find_layers(model).items() if name in names]


def _stop(pairs: Sequence[_Pair]) -> Stop:
    calls = [pair.call for pair in pairs if pair.call]
    return Stop(calls, [pair.original_call for pair in pairs if pair.original_call])


class _Pair:
    """One batch on its way through the model and, if wanted, through the original one."""

    def __init__(
        self,
        model: nn.Module,
        original: nn.Module | None,
        watched: tuple[list[Layer], list[Layer]],
        batch: Batch,
    ) -> None:
        self._walk = _Walk(model, watched[0], batch)
        self._original = _Walk(original, watched[1], batch) if original is not None else None
        self.call: Call | None = None
        self.original_call: Call | None = None

    @property
    def layer_name(self) -> str:
        """At which it waits."""
        return self.call.layer.name if self.call else ""

    def go_on(self, weight: Tensor | None) -> bool:
        """Walk to the next layer; False at the end of the way."""
        self.call = self.original_call = None
        self.call = self._walk.go_on(weight)
        if self._original and self.call:
            self.original_call = self._original.go_to(self.call.layer.name)
        return self.call is not None

    def end(self) -> None:
        """Leave the forwards wherever they are."""
        self._walk.end()
        if self._original:
            self._original.end()


class _End(BaseException):
    """Ends a forward that waits."""


class _Walk:
    """One batch on its way through the model."""

    def __init__(self, model: nn.Module, layers: Sequence[Layer], batch: Batch) -> None:
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._outbox: SimpleQueue[Call | BaseException | None] = SimpleQueue()
        self._args = (model, layers, batch)
        self._is_over = False
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def go_on(self, weight: Tensor | None) -> Call | None:
        """Walk to the next layer and give its call; None at the end of the way."""
        self._inbox.put(weight)
        result = self._outbox.get()
        self._is_over = not isinstance(result, Call)
        if isinstance(result, BaseException):
            raise result
        return result

    def go_to(self, name: str) -> Call | None:
        """Walk to a layer, past others; None if it does not come."""
        while not self._is_over:
            call = self.go_on(None)
            if call and call.layer.name == name:
                return call
        return None

    def end(self) -> None:
        """Leave the forward wherever it is."""
        self._inbox.put(_End())
        self._thread.join()

    def _run(self) -> None:
        model, layers, batch = self._args
        result: BaseException | None = None
        try:
            self._receive()
            with LayerCalls(layers, self._pause):
                run(model, batch)
        except _End:
            return
        except Exception as error:  # noqa: BLE001  handed to the caller, who raises it
            result = error
        self._outbox.put(result)

    def _pause(self, call: Call) -> Tensor | None:
        self._outbox.put(call)
        return self._receive()

    def _receive(self) -> Tensor | None:
        message = self._inbox.get()
        if isinstance(message, BaseException):
            raise message
        assert message is None or isinstance(message, torch.Tensor)
        return message
