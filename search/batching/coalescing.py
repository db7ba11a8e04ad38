"""Do in one go what several threads, or requests of a round, want at the same time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Event, Lock
from time import monotonic
from typing import Generic, TypeVar

from encoder.errors import AnymodalError
from search.batching.greenlet_rounds import meet

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(eq=False)
class _Call(Generic[Item, Result]):
    """What one request wants, and what becomes of it."""

    items: Sequence[Item]
    woken: Event = field(default_factory=Event)
    leads: bool = False
    results: Sequence[Result] = ()
    error: Exception | None = None


class Together(Generic[Key, Item, Result]):
    """Calls with the same key become one call of ``do(key, items)``. For many threads.

    A call begins at once if nothing of its key runs. Otherwise it waits for the running batch, and
    is then done together with all others that wait. Only after a batch of several
    does the next wait for as many again, ``wait_s`` at most, for they tend to come back together.

    Args:
        do: does the work; returns a result for each item, in their order.
        max_items: the most that is done at once, unless one call alone holds more.
        wait_s: the longest that a batch waits for company.
    """

    def __init__(
        self,
        do: Callable[[Key, Sequence[Item]], Sequence[Result]],
        *,
        max_items: int,
        wait_s: float = 0.0,
    ) -> None:
        self._do = do
        self._max_items = max_items
        self._wait_s = wait_s
        self._lock = Lock()
        self._lanes: dict[Key, _Lane[Item, Result]] = {}

    def __call__(self, key: Key, items: Sequence[Item]) -> Sequence[Result]:
        """A result for each item; raises what ``do`` raises."""
        call = _Call[Item, Result](items)
        meet(self._lane(key), call)
        if call.error is not None:
            raise call.error
        return call.results

    def n_waiting(self, key: Key) -> int:
        """How many calls wait for the batch of this key that runs."""
        return self._lane(key).n_waiting

    def _lane(self, key: Key) -> _Lane[Item, Result]:
        with self._lock:
            if key not in self._lanes:
                self._lanes[key] = _Lane(
                    lambda items: self._do(key, items), self._max_items, self._wait_s
                )
            return self._lanes[key]


class _Lane(Generic[Item, Result]):
    """The calls of one key: one thread leads a batch, the others wait for it."""

    def __init__(
        self, do: Callable[[Sequence[Item]], Sequence[Result]], max_items: int, wait_s: float
    ) -> None:
        self._do = do
        self._max_items = max_items
        self._wait_s = wait_s
        self._waiting: list[_Call[Item, Result]] = []
        self._changed = Condition()
        self._busy = False
        self._company = 1

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    def run_all(self, calls: Sequence[_Call[Item, Result]]) -> None:
        """Have these calls done, which one thread makes."""
        with self._changed:
            self._waiting += calls
            calls[0].leads = not self._busy
            self._busy = True
            self._changed.notify_all()
        for call in calls:
            if not call.leads:
                call.woken.wait()
            if call.leads:
                self._lead()

    def _lead(self) -> None:
        """Do a batch; one of the caller's own calls is its first."""
        batch: list[_Call[Item, Result]] = []
        try:
            batch = self._gather()
            self._run(batch)
        finally:
            self._hand_over()
            for call in batch:
                call.woken.set()

    def _gather(self) -> list[_Call[Item, Result]]:
        until = monotonic() + self._wait_s
        with self._changed:
            while len(self._waiting) < self._company and (left_s := until - monotonic()) > 0:
                self._changed.wait(left_s)
            n_items = n_calls = 0
            for call in self._waiting:
                n_items += len(call.items)
                if n_calls and n_items > self._max_items:
                    break
                n_calls += 1
            batch, self._waiting = self._waiting[:n_calls], self._waiting[n_calls:]
            self._company = n_calls
            return batch

    def _hand_over(self) -> None:
        with self._changed:
            self._busy = bool(self._waiting)
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].woken.set()

    def _run(self, batch: Sequence[_Call[Item, Result]]) -> None:
        """Together; if an item is refused, one by one, so that it harms only its own call."""
        try:
            results = self._do([item for call in batch for item in call.items])
        except Exception as error:  # noqa: BLE001 - each caller raises it
            if len(batch) > 1 and isinstance(error, AnymodalError) and not error.retryable:
                for call in batch:
                    self._run([call])
            else:  # a store that is away, say, is away for all
                for call in batch:
                    call.error = error
            return
        start = 0
        for call in batch:
            call.results = results[start : start + len(call.items)]
            start += len(call.items)
