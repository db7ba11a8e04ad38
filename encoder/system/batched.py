"""Batches: of concurrent calls, which become one, and of values.

Each request has a thread. The first that calls a `Batched` function runs it at once, alone. Those
that call it meanwhile wait, and become one call when it returns::

    request A ──► encode(a) ────► answer A
    request B ──► waits ─┐
    request C ──► waits ─┴ encode(b, c) ─► answers B and C

The busier the server, the larger the batches; a lone request never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from threading import Event, Lock
from typing import Generic, TypeVar

from encoder.system.stopping import current_check

BatchKey = TypeVar("BatchKey", bound=Hashable)
Single = TypeVar("Single")
Result = TypeVar("Result")


def in_batches(values: Iterable[Single], size: int) -> Iterator[list[Single]]:
    """Lists of at most ``size`` values, streamed.

    >>> list(in_batches("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch


@dataclass(eq=False)
class _Call(Generic[Single, Result]):
    """A call of one thread. A thread that is to run a batch finds it in ``batch``."""

    items: Sequence[Single]
    check: Callable[[], None] | None
    """Raises once nobody waits for the results any more."""
    woken: Event = field(default_factory=Event)
    batch: Sequence[_Call[Single, Result]] = ()
    results: Sequence[Result] = ()
    error: BaseException | None = None


class Batched(Generic[BatchKey, Single, Result]):
    """A function of many items whose concurrent calls with the same key become one.

    A call runs at once if no other of its key does. Otherwise it waits, and one of the waiting
    threads then runs the next batch for all of them, except those that are to stop by then
    (`encoder.system.stopping`).

    ``do`` returns one result for each item, in order; a batch has at most ``max_items`` of its
    key, unless one call alone has more.
    """

    def __init__(
        self,
        do: Callable[[BatchKey, Sequence[Single]], Sequence[Result]],
        *,
        max_items: Callable[[BatchKey], int],
    ) -> None:
        self._do = do
        self._max_items = max_items
        self._lock = Lock()
        self._waiting: dict[BatchKey, list[_Call[Single, Result]]] = {}
        """A key is here while one of its batches runs."""

    def __call__(self, key: BatchKey, items: Sequence[Single]) -> Sequence[Result]:
        """One result for each item; raises what ``do`` raises for them."""
        call = _Call[Single, Result](items, current_check())
        with self._lock:
            if key in self._waiting:
                self._waiting[key].append(call)
            else:
                self._waiting[key] = []
                call.batch = [call]
        if not call.batch:
            call.woken.wait()
        if call.batch:
            self._run(
                key, [waiting_call for waiting_call in call.batch if self._is_wanted(waiting_call)]
            )
            self._pass_on(key, call.batch)
        if call.error is not None:
            raise call.error
        return call.results

    def n_waiting(self, key: BatchKey) -> int:
        """How many calls wait for the batch that runs."""
        return len(self._waiting.get(key, ()))

    def _run(self, key: BatchKey, batch: Sequence[_Call[Single, Result]]) -> None:
        """Run all at once; if that fails, one by one, so a bad item harms only its own call."""
        if not batch:
            return
        try:
            results = self._do(key, [item for call in batch for item in call.items])
        except BaseException as error:  # noqa: BLE001 - each call raises it
            is_shared = getattr(error, "retryable", False) or not isinstance(error, Exception)
            if len(batch) > 1 and not is_shared:  # an unreachable store fails for all
                for call in batch:
                    self._run(key, [call])
            else:
                for call in batch:
                    call.error = error
            return
        start = 0
        for call in batch:
            call.results = results[start : start + len(call.items)]
            start += len(call.items)

    def _is_wanted(self, call: _Call[Single, Result]) -> bool:
        """Whether anybody still waits for a call; else notes why not."""
        try:
            if call.check:
                call.check()
        except Exception as error:  # noqa: BLE001 - the call raises it
            call.error = error
        return call.error is None

    def _pass_on(self, key: BatchKey, done: Sequence[_Call[Single, Result]]) -> None:
        """Wake the threads of a batch, and have a waiting one run the next."""
        with self._lock:
            if waiting := self._waiting[key]:
                n_calls, n_items = 1, len(waiting[0].items)
                for call in waiting[1:]:
                    n_items += len(call.items)
                    if n_items > self._max_items(key):
                        break
                    n_calls += 1
                leader, self._waiting[key] = waiting[0], waiting[n_calls:]
                leader.batch = waiting[:n_calls]
                leader.woken.set()
            else:
                del self._waiting[key]
        for call in done:
            call.woken.set()
