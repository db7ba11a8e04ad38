"""The interface for running a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from numpy.typing import NDArray

from encoder.system.stopping import current_check

_RUNS_AT_ONCE = 8
"""Of texts in windows, these are 2,048 tokens: about a second of one core."""

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
    """The outputs for each of the inputs, in order, computed the session's fastest way.

    Some at a time, where this thread's work can be stopped (`encoder.system.stopping`).
    """
    check = current_check()
    if check is None or len(inputs) <= _RUNS_AT_ONCE:
        return _run_at_once(session, inputs)
    outputs: list[list[Array]] = []
    for start in range(0, len(inputs), _RUNS_AT_ONCE):
        check()
        outputs += _run_at_once(session, inputs[start : start + _RUNS_AT_ONCE])
    return outputs


def _run_at_once(session: Session, inputs: Sequence[Mapping[str, Array]]) -> list[list[Array]]:
    if len(inputs) == 1:
        return [session.run(inputs[0])]
    if isinstance(session, ManyRuns):
        return session.run_all(inputs)
    return [session.run(run_inputs) for run_inputs in inputs]
