"""One thread for runs that are too small to be divided."""

from __future__ import annotations

from collections.abc import Mapping

from encoder.runtime.base import Array, Session


class SmallRuns:
    """A `Session` that hands small inputs to a network of one thread, and others to one of many.

    A thread that sleeps between the parts of a run is woken some fifty times in it, which takes
    longer than its share of a short text; the other core is free for other work meanwhile.

    Args:
        one: the network with one thread.
        many: the same with as many as there may be; where weights are mapped, both share them.
        most: the largest size of the first input that one thread takes.
    """

    def __init__(self, one: Session, many: Session, most: int) -> None:
        self._one = one
        self._many = many
        self._most = most

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """See `Session.run`."""
        is_small = next(iter(inputs.values())).size <= self._most
        return (self._one if is_small else self._many).run(inputs)
