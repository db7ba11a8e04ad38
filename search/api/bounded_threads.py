"""Run blocking work in threads, bounded in number, queue and time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from threading import Lock
from time import perf_counter
from typing import Any, TypeVar

from encoder.system.stopping import stopped_by
from search.deadline import Budget, Deadline
from search.errors import OverloadedError, TimeLimitError

_OF_MACHINE = 1 / 3
"""The part of the machine's cores that one request may occupy for the whole time limit."""

T = TypeVar("T")


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def processor_limit_s(timeout_s: float) -> float:
    """The most processor time of a request with this time limit."""
    return timeout_s * usable_cores() * _OF_MACHINE


@dataclass(frozen=True)
class Turn:
    """Passed to work when its turn comes: the deadline, and how long it waited."""

    deadline: Deadline
    waited_s: float


class Workbench:
    """Runs blocking work without blocking the event loop.

    Args:
        threads: the number of threads.
        queue: the most waiting work.
        timeout_s: the longest time for waiting and running together.
    """

    def __init__(self, threads: int, queue: int, timeout_s: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="api")
        self._most = threads + queue
        self._timeout_s = timeout_s
        self._cpu_s = processor_limit_s(timeout_s)
        self._n_taken = 0
        self._lock = Lock()

    async def run(
        self,
        work: Callable[[Turn], T],
        gone: Callable[[], Awaitable[object]] | None = None,
    ) -> T:
        """The result of ``work``.

        Args:
            work: called with its turn; it should `check` the turn's deadline.
            gone: returns once nobody waits for the result any more; then the work is cancelled.

        Raises:
            OverloadedError: the queue is full.
            TimeLimitError: it was not done in time.
            TooCostlyError: it took a third of the machine for longer than that.
            CancelledError: nobody waits any more.
        """
        self._take()
        deadline, arrived_s = Budget(self._timeout_s, self._cpu_s), perf_counter()
        begin = copy_context().run  # so that what the work logs has the request's id

        def do() -> T:
            with stopped_by(deadline.check), deadline.counted():
                return work(Turn(deadline, perf_counter() - arrived_s))

        future = self._pool.submit(begin, do)
        future.add_done_callback(self._give_back)
        result = asyncio.wrap_future(future)
        watch = asyncio.ensure_future(gone()) if gone else None
        try:
            awaited: set[asyncio.Future[Any]] = {result, watch} if watch else {result}
            await asyncio.wait(
                awaited,
                timeout=self._timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not result.done():
                if watch and watch.done():
                    deadline.cancel()
                deadline.check()
                raise TimeLimitError(f"The request took longer than {self._timeout_s:g} s.")
            return result.result()
        finally:
            deadline.cancel()
            result.cancel()
            if watch:
                watch.cancel()

    def taken(self) -> int:
        """The amount of running and waiting work."""
        return self._n_taken

    def close(self) -> None:
        """End the threads; waiting work is dropped, running work completed."""
        self._pool.shutdown(cancel_futures=True)

    def _take(self) -> None:
        with self._lock:
            if self._n_taken >= self._most:
                raise OverloadedError(
                    f"{self._most} requests are running or waiting, which is the limit.",
                    "Try again in a second.",
                )
            self._n_taken += 1

    def _give_back(self, _: Future[Any]) -> None:
        with self._lock:
            self._n_taken -= 1
