"""The interface for running a network: once, or several times in parallel."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cached_property, partial
from threading import Lock
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from numpy.typing import NDArray

from encoder.system.stopping import current_check

_RUNS_AT_ONCE = 8
"""Of texts in windows, these are 2,048 tokens: about a second of one core."""

Array: TypeAlias = NDArray[Any]
"""Any numpy array; the network's owner specifies shape and dtype."""


class Session(Protocol):
    """A network that is loaded and can be run from several threads at once."""

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Run the network once: arrays by input name to the outputs in the network's order."""


@runtime_checkable
class ManyRuns(Session, Protocol):
    """A session with a faster way to do several runs than one after the other."""

    def run_all(self, inputs: Sequence[Mapping[str, Array]]) -> list[list[Array]]:
        """The outputs for each of the inputs, in order."""


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


T = TypeVar("T")

# How well a run divided among two threads uses both cores: 128 tokens .64, 256 tokens .72, pictures
# .69. The threads sleep between the parts of the run.
_DIVIDED = 0.7


class SideBySide:
    """A network for single runs and for many; where weights are mapped, both sessions share them.

    A run that is divided among threads wakes them some fifty times. In a small run (of up to
    ``small`` numbers), waking the threads takes longer than their share of the work; several runs
    are faster with a thread each.
    """

    def __init__(
        self, single: Session, open_many: Callable[[], Session], n_threads: int, small: int = 0
    ) -> None:
        self._one = single
        self._open_many = open_many
        self._opening = Lock()
        self._n_threads = n_threads
        self._small = small

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        if _size(inputs) <= self._small:
            return self._one.run(inputs)
        with self._opening:
            sessions = self._opened
        return sessions.run(inputs)

    def run_all(self, inputs: Sequence[Mapping[str, Array]]) -> list[list[Array]]:
        """The outputs for each of the inputs, in order."""
        sizes = [_size(run_inputs) for run_inputs in inputs]
        if len(inputs) < 2 or not self._is_faster_side_by_side(sizes):
            return [self.run(run_inputs) for run_inputs in inputs]
        # The longest first, so that no long run is left to a single thread at the end.
        order = sorted(range(len(inputs)), key=lambda index: -sizes[index])
        runs = [
            self._threads.submit(copy_context().run, self._one.run, inputs[index])
            for index in order
        ]
        by_place = {index: run.result() for index, run in zip(order, runs, strict=True)}
        return [by_place[index] for index in range(len(inputs))]

    def _is_faster_side_by_side(self, sizes: Sequence[int]) -> bool:
        divided = self._n_threads * _DIVIDED
        in_turn = sum(size if size <= self._small else size / divided for size in sizes)
        return max(*sizes, sum(sizes) / self._n_threads) < in_turn

    @cached_property
    def _opened(self) -> Session:
        return self._open_many()

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._n_threads, thread_name_prefix="runs")


def _size(inputs: Mapping[str, Array]) -> int:
    return next(iter(inputs.values())).size


def all_at_once(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """The results of the jobs, in order; each job but the first gets its own thread.

    All see the caller's context variables. If jobs fail, the error of the first of them is raised
    once all have ended.
    """
    if len(jobs) < 2:
        return [job() for job in jobs]
    with ThreadPoolExecutor(len(jobs) - 1, thread_name_prefix="towers") as threads:
        futures = [threads.submit(copy_context().run, job) for job in jobs[1:]]
        return [jobs[0](), *(other.result() for other in futures)]


def side_by_side(
    open_with: Callable[[int | None], Session], n_threads: int | None, small: int = 0
) -> Session:
    """A session for single runs and for several, see `SideBySide`; with one thread a plain one."""
    max_threads = n_threads or os.cpu_count() or 1
    if max_threads == 1:
        return open_with(n_threads)
    return SideBySide(open_with(1), partial(open_with, n_threads), max_threads, small)
