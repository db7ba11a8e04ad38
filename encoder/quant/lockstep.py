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
from encoder.quant.inputs import Drift, DriftSum, Gram, GramSum, LayerCall, layer_calls, same_input
from encoder.quant.layers import Layer

_MAX_BYTES = 1 << 31
_TENSORS_ALIVE = 3
"""Tensors of an input's size: itself, the output to come, and one kept for a skip connection."""


class LayerStop:
    """Calls of one layer, at which batches wait; each call stands for ``times`` batches."""

    def __init__(
        self, calls: Sequence[LayerCall], originals: Sequence[LayerCall], times: int = 1
    ) -> None:
        self._times = times
        self.layer = calls[0].layer
        self.calls = calls
        self.originals = originals

    def sees_what(self, other: LayerStop) -> bool:
        """Whether these calls have the very same inputs as another layer's calls."""
        if len(self.calls) != len(other.calls):
            return False
        return all(map(same_input, self.calls, other.calls))

    def gram(self) -> Gram:
        """The Gram matrix of the inputs."""
        total = GramSum(self._times)
        for call in self.calls:
            total.add(call)
        return total.mean()

    def drift(self) -> Drift | None:
        """The drift of the inputs, unless the original took another way."""
        if len(self.originals) != len(self.calls):
            return None
        total = DriftSum(self._times)
        for call, original in zip(self.calls, self.originals, strict=True):
            total.add(call, original)
        return total.mean()


Solve = Callable[[LayerStop], Tensor | None]
"""Returns the weight that the waiting calls continue with; None for the one that they have."""


def in_step(
    model: nn.Module,
    original: nn.Module,
    layers: Collection[Layer],
    batches: Sequence[Batch],
    solve: Solve,
    max_bytes: int = _MAX_BYTES,
) -> int:
    """Run each batch once through the model and the original, and pause at each layer.

    One forward runs at a time, each in its own thread, since a forward cannot otherwise be left
    and resumed. All of them are alive at once: those for which there is no room yet join at a
    later layer, where activations are smaller, as they become in most networks for pictures. Where
    batches take different paths, the layer at which the first one waits is solved first.

    Returns:
        How many batches there was room for.

    Raises:
        ModelError: a forward fails.
    """
    room = _Room(model, layers, batches[0], max_bytes)
    coming, walks, waiting = list(batches), list[_Pair](), list[_Pair]()
    try:
        while True:
            n_more = room.at(waiting[0].layer_name if waiting else "") - len(walks)
            if coming and n_more > 0:
                unsolved = [layer for layer in layers if not layer.is_stored]
                watched = unsolved, [layer.of(original) for layer in unsolved]
                joined = [_Pair(model, original, watched, batch) for batch in coming[:n_more]]
                coming = coming[n_more:]
                walks += joined
                waiting += [walk for walk in joined if walk.go_on(None)]
            if not waiting:
                return len(walks)
            first = waiting[0].layer_name
            arrived = [walk for walk in waiting if walk.layer_name == first]
            calls = [walk.call for walk in arrived if walk.call]
            originals = [walk.original_call for walk in arrived if walk.original_call]
            weight = solve(LayerStop(calls, originals, len(batches) // len(walks)))
            ended = {walk for walk in arrived if not walk.go_on(weight)}
            waiting = [walk for walk in waiting if walk not in ended]
    finally:
        for walk in walks:
            walk.end()


class _Room:
    """How many batches may be alive at each layer, from one batch's inputs of all layers."""

    def __init__(
        self, model: nn.Module, layers: Collection[Layer], batch: Batch, max_bytes: int
    ) -> None:
        sizes: dict[str, int] = {}

        def note(call: LayerCall) -> None:
            sizes.setdefault(call.layer.name, sum(x.nbytes for x in call.inputs))

        with layer_calls(layers, note):
            run(model, batch)
        self._n_alive: dict[str, int] = {}
        largest = 1
        for name in reversed(sizes):
            largest = max(largest, sizes[name])
            self._n_alive[name] = max(1, max_bytes // (2 * largest * _TENSORS_ALIVE))
        self._least = min(self._n_alive.values(), default=1)

    def at(self, name: str) -> int:
        """How many batches may wait at a layer, so that there is room at all later layers too."""
        return self._n_alive.get(name, self._least)


class _Pair:
    """One batch on its way through the model and through the original one."""

    def __init__(
        self,
        model: nn.Module,
        original: nn.Module,
        watched: tuple[list[Layer], list[Layer]],
        batch: Batch,
    ) -> None:
        self._walk = _Walk(model, watched[0], batch)
        self._original = _Walk(original, watched[1], batch)
        self.call: LayerCall | None = None
        self.original_call: LayerCall | None = None

    @property
    def layer_name(self) -> str:
        """The layer at which it waits."""
        return self.call.layer.name if self.call else ""

    def go_on(self, weight: Tensor | None) -> bool:
        """Walk to the next layer; False at the end."""
        self.call = self.original_call = None
        self.call = self._walk.go_on(weight)
        if self.call:
            self.original_call = self._original.go_to(self.call.layer.name)
        return self.call is not None

    def end(self) -> None:
        """Leave the forwards wherever they are."""
        self._walk.end()
        self._original.end()


class _End(BaseException):
    """Ends a waiting forward."""


class _Walk:
    """One batch on its way through the model."""

    def __init__(self, model: nn.Module, layers: Sequence[Layer], batch: Batch) -> None:
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._outbox: SimpleQueue[LayerCall | BaseException | None] = SimpleQueue()
        self._args = (model, layers, batch)
        self._is_over = False
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def go_on(self, weight: Tensor | None) -> LayerCall | None:
        """Walk to the next layer and return its call; None at the end."""
        self._inbox.put(weight)
        result = self._outbox.get()
        self._is_over = not isinstance(result, LayerCall)
        if isinstance(result, BaseException):
            raise result
        return result

    def go_to(self, name: str) -> LayerCall | None:
        """Walk to a layer, past others; None if it is never called."""
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
            with layer_calls(layers, self._pause):
                run(model, batch)
        except _End:
            return
        except Exception as error:  # noqa: BLE001  handed to the caller, who raises it
            result = error
        self._outbox.put(result)

    def _pause(self, call: LayerCall) -> Tensor | None:
        self._outbox.put(call)
        return self._receive()

    def _receive(self) -> Tensor | None:
        message = self._inbox.get()
        if isinstance(message, BaseException):
            raise message
        assert message is None or isinstance(message, torch.Tensor)
        return message
