"""When work has to stop: time is up, the caller is gone, or it has cost too much."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import AbstractContextManager, contextmanager
from threading import Event, get_ident
from time import monotonic, thread_time
from typing import ParamSpec, TypeVar

from encoder.errors import InputError
from encoder.system.metering import Meter, metered
from search.errors import CancelledError, IndexNotReadyError, TimeLimitError, TooCostlyError
from search.latency import StageTimer

P = ParamSpec("P")
T = TypeVar("T")


class Deadline:
    """A time limit that can also be cancelled, from any thread.

    Args:
        seconds: from now on; None for no limit, only `cancel`.

    Raises:
        InputError: not a number above 0.

    >>> deadline = Deadline(30)
    >>> deadline.check()
    >>> deadline.cancel()
    >>> deadline.check()
    Traceback (most recent call last):
        ...
    search.errors.CancelledError: The search was cancelled.
    """

    def __init__(
        self, seconds: float | None = None, *, clock: Callable[[], float] = monotonic
    ) -> None:
        if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
            raise InputError("deadline", got=f"{seconds} s", wanted="a number of seconds above 0")
        self._seconds = seconds
        self._clock = clock
        self._started = clock()
        self._cancelled = Event()

    def cancel(self) -> None:
        """Make the next `check` raise."""
        self._cancelled.set()

    def left_s(self) -> float | None:
        """Seconds left, 0 at least; None without a limit."""
        if self._seconds is None:
            return None
        return max(0.0, self._started + self._seconds - self._clock())

    def wait(
        self,
        executor: Executor | None,
        call: Callable[P, T],
        *args: P.args,
        **options: P.kwargs,
    ) -> T:
        """The result of a call, or an error as soon as the time is up, though the call continues.

        Without an executor the time is checked before the call.

        Raises:
            CancelledError, TimeLimitError: as `check`.
        """
        if executor is None:
            self.check()
        if executor is None or self._seconds is None:
            return call(*args, **options)
        return self.result(executor.submit(call, *args, **options))

    def result(self, future: Future[T]) -> T:
        """The same for a call that is already running."""
        while not wait([future], self.left_s()).done:
            future.cancel()  # if it has not begun
            self.check()
        return future.result()

    def check(self) -> None:
        """Raise if the search has to stop.

        Raises:
            CancelledError: `cancel` was called.
            TimeLimitError: the time is up.
        """
        if self._cancelled.is_set():
            raise CancelledError("The search was cancelled.")
        if self.left_s() == 0.0:
            raise TimeLimitError(
                f"The search took longer than {self._seconds:g} s.",
                remedy="Allow more time, or ask for less (limit, modalities).",
            )


class Budget(Deadline):
    """The deadline of a request, which also bounds the processor time that it may take.

    Args:
        seconds: from now on.
        cpu_s: of its own thread, and of the networks that run for it.
    """

    def __init__(self, seconds: float, cpu_s: float) -> None:
        super().__init__(seconds)
        self._most_cpu_s = cpu_s
        self._meter = Meter()
        self._thread: int | None = None
        self._began_s = 0.0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what this thread does within the block."""
        self._thread, self._began_s = get_ident(), thread_time()
        try:
            with metered(self._meter):
                yield
        finally:
            self._thread = None

    def check(self) -> None:
        """Raise if the work has to stop.

        Raises:
            CancelledError, TimeLimitError: see `Deadline.check`.
            TooCostlyError: it took too much processor time.
        """
        super().check()
        own_s = thread_time() - self._began_s if self._thread == get_ident() else 0.0
        if self._meter.cpu_s + own_s > self._most_cpu_s:
            raise TooCostlyError(
                f"The request took more than {self._most_cpu_s:.3g} s of processor time.",
                remedy="Send fewer or shorter inputs in each of several requests.",
            )


class StageProgress:
    """Times the stages of a request; a stage begins only if the deadline allows it.

    >>> progress = StageProgress(Deadline(30))
    >>> with progress.stage("plan"):
    ...     pass
    >>> list(progress.timer.latency_s())
    ['plan', 'total']
    """

    def __init__(self, deadline: Deadline | None = None) -> None:
        self.deadline = deadline or Deadline()
        self.timer = StageTimer()
        self.warnings: list[str] = []
        """What the answer lacks, in words."""

    def result(self, future: Future[T], otherwise: T) -> T:
        """The result of a call; ``otherwise``, and a warning, while its index is being read."""
        try:
            return self.deadline.result(future)
        except IndexNotReadyError as error:
            self.warn(str(error))
            return otherwise

    def warn(self, what: str) -> None:
        """Note once what the answer lacks."""
        if what not in self.warnings:
            self.warnings.append(what)

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Time this block.

        Raises:
            CancelledError, TimeLimitError: of the deadline.
        """
        self.deadline.check()
        return self.timer.stage(name)
