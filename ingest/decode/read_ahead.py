"""Run an iterator ahead of its consumer, in a thread, within bounds."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from queue import Full, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

T = TypeVar("T")
_POLL_S = 0.1


@dataclass(frozen=True)
class _EndOfItems:
    """The iterator has ended, by itself or with an error."""

    error: BaseException | None = None


class _Runner(Generic[T]):
    def __init__(self, values: Iterable[T], depth: int) -> None:
        self.queue: Queue[T | _EndOfItems] = Queue(depth)
        self._values = values
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="decode-ahead", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            for value in self._values:
                self._put(value)
                if self._stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 (raised again in the consumer's thread)
            self._put(_EndOfItems(error))
        else:
            self._put(_EndOfItems())

    def _put(self, value: T | _EndOfItems) -> None:
        while not self._stopped.is_set():
            try:
                self.queue.put(value, timeout=_POLL_S)
                break
            except Full:
                continue


def ahead(values: Iterable[T], depth: int) -> Generator[T, None, None]:
    """The same values in the same order; up to ``depth`` are computed in advance.

    The thread starts with the first value asked for and ends when the generator is closed.
    An error of ``values`` is raised here.
    """
    runner = _Runner(values, depth)
    try:
        while not isinstance(value := runner.queue.get(), _EndOfItems):
            yield value
        if value.error is not None:
            raise value.error
    finally:
        runner.stop()
