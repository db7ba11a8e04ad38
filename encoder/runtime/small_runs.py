"""One thread for runs that are too small to be divided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from encoder.runtime.base import Array, Session


class SmallRuns:
    """A `Session` that hands small inputs to a network of one thread, and others to one of many.

    A thread that sleeps between the parts of a run is woken some fifty times in it, which takes
    longer than its share of a short text; the other core is free for other work meanwhile. Each
    network is opened when it is first needed; with weights that are mapped, both share them.

    Args:
        open_one: opens the network with one thread.
        open_many: opens it with as many as there may be.
        most: the largest size of the first input that one thread takes.
    """

    def __init__(
        self, open_one: Callable[[], Session], open_many: Callable[[], Session], most: int
    ) -> None:
        self._open_one = open_one
        self._open_many = open_many
        self._most = most

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """See `Session.run`."""
        is_small = next(iter(inputs.values())).size <= self._most
        return (self._one if is_small else self._many).run(inputs)

    @cached_property
    def _one(self) -> Session:
        return self._open_one()

    @cached_property
    def _many(self) -> Session:
        return self._open_many()
