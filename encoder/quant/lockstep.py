"""Many batches through one model in step: all pause at a layer before it is solved.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any

import torch
from torch import Tensor, nn

from encoder.quant.calibration import Batch, run
from encoder.quant.layers import Layer
from encoder.quant.rounding.calls import Call, LayerCalls
from encoder.quant.rounding.collect import GramSum, same_input
from encoder.quant.rounding.gram import Gram


class Stop:
    """Calls of one layer, at which batches wait.

    Args:
        calls: of the layer, one for each batch that waits.
        known: Gram matrix that a layer with the same inputs had.
    """

    def __init__(self, calls: Sequence[Call], known: Gram | None) -> None:
        self.layer = calls[0].layer
        self.calls = calls
        self._known = known

    def gram(self) -> Gram:
        """Of the inputs; computed once, also for layers that share them."""
        if self._known is None:
            total = GramSum()
            for call in self.calls:
                total.add(call)
            self._known = total.mean()
        return self._known

    @property
    def known(self) -> Gram | None:
        """The Gram matrix, if it was asked for."""
        return self._known


Solve = Callable[[Stop], Tensor | None]
"""Gives the weight that the waiting calls go on with; None for the one that they have."""


def in_step(
    model: nn.Module, layers: Iterable[Layer], batches: Sequence[Batch], solve: Solve
) -> None:
    """Run each batch once through the model, and pause at each layer.

    One forward runs at a time, each in a thread of its own, since a forward cannot be left and
    entered again otherwise. Where batches take different ways, the layer at which the first one
    waits is solved first.

    Args:
        model: in eval mode.
        layers: at which to pause.
        batches: inputs; their activations are all alive at once.
        solve: called for each layer, in the order of execution.

    Raises:
        ModelError: a forward fails.
    """
    layers = list(layers)
    walks = [_Walk(model, layers, batch) for batch in batches]
    try:
        waiting = {walk: call for walk in walks if (call := walk.go_on(None))}
        last: Stop | None = None
        while waiting:
            first = next(iter(waiting.values())).layer.name
            here = [walk for walk, call in waiting.items() if call.layer.name == first]
            stop = _stop([waiting[walk] for walk in here], last)
            weight = solve(stop)
            for walk in here:
                if call := walk.go_on(weight):
                    waiting[walk] = call
                else:
                    del waiting[walk]
            last = stop
    finally:
        for walk in walks:
            walk.end()


def _stop(calls: Sequence[Call], last: Stop | None) -> Stop:
    shared = last is not None and len(last.calls) == len(calls)
    if last is not None and shared and all(map(same_input, last.calls, calls)):
        return Stop(calls, last.known)
    return Stop(calls, None)


class _End(BaseException):
    """Ends a forward that waits."""


class _Walk:
    """One batch on its way through the model."""

    def __init__(self, model: nn.Module, layers: Sequence[Layer], batch: Batch) -> None:
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._outbox: SimpleQueue[Call | BaseException | None] = SimpleQueue()
        self._args = (model, layers, batch)
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def go_on(self, weight: Tensor | None) -> Call | None:
        """Walk to the next layer and give its call; None at the end of the way."""
        self._inbox.put(weight)
        result = self._outbox.get()
        if isinstance(result, BaseException):
            raise result
        return result

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
