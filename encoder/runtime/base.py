"""The interface for running a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""Any numpy array; the network's owner specifies shape and dtype."""


class Session(Protocol):
    """A network that is loaded and can be run from several threads at once."""

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Run the network once.

        Args:
            inputs: arrays by input name; the network's owner documents names, shapes, dtypes.

        Returns:
            The outputs, in the network's order.
        """
        ...


@runtime_checkable
class ManyRuns(Session, Protocol):
    """A session with a faster way to do several runs than one after the other."""

    def run_all(self, inputs: Sequence[Mapping[str, Array]]) -> list[list[Array]]:
        """The outputs for each of the inputs, in order."""
        ...


def run_all(session: Session, inputs: Sequence[Mapping[str, Array]]) -> list[list[Array]]:
    """The outputs for each of the inputs, in order, computed the session's fastest way."""
    if len(inputs) == 1:
        return [session.run(inputs[0])]
    if isinstance(session, ManyRuns):
        return session.run_all(inputs)
    return [session.run(one) for one in inputs]
