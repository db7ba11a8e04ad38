"""Run requests side by side in one thread, and do together what they need at the same time.

Threads that wait for each other cost more than what they do: of sixteen that each answer a text
query, one holds the interpreter at a time, and each hand-over is a switch of the operating system.
Here a request is a greenlet. It runs until it needs what is done for several at once, and waits
while the others of its round come as far. Then one call does it for all of them, and all go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

from greenlet import getcurrent, greenlet

Result = TypeVar("Result")
Params = ParamSpec("Params")
Want = TypeVar("Want", contravariant=True)


class Meeting(Protocol[Want]):
    """Does for several requests at once what each of them wants."""

    def run_all(self, wants: Sequence[Want]) -> None:
        """Leave each result, or its error, in its want; raises nothing."""
        ...


class _Member(greenlet):
    """A request of a round. It switches to the round with a meeting and what it wants there."""


def meet(meeting: Meeting[Want], want: Want) -> None:
    """Have it done: in a round together with what its others want, else at once."""
    member = getcurrent()
    if isinstance(member, _Member) and member.parent:
        member.parent.switch(meeting, want)
    else:
        meeting.run_all([want])


@dataclass(frozen=True, eq=False)
class _Task(Generic[Result]):
    """What was submitted."""

    work: Callable[[], Result]
    ended: Callable[[], None]
    future: Future[Result] = field(default_factory=Future)

    def run(self) -> None:
        try:
            result = self.work()
        except BaseException as error:  # noqa: BLE001 - who waits for the result raises it
            self.ended()
            self.future.set_exception(error)
        else:
            self.ended()
            self.future.set_result(result)

    def begin(self) -> bool:
        """Whether it is still wanted."""
        wanted = self.future.set_running_or_notify_cancel()
        if not wanted:
            self.ended()
        return wanted


def _run_round(tasks: Sequence[_Task[Any]]) -> None:
    """Run all to their ends."""
    members = [_Member(task.run) for task in tasks]
    while members:
        asked = [(member, member.switch()) for member in members]
        members = [member for member, _ in asked if not member.dead]
        met: dict[Meeting[Any], list[Any]] = {}
        for meeting, want in (wanted for member, wanted in asked if not member.dead):
            met.setdefault(meeting, []).append(want)
        for meeting, wants in met.items():
            meeting.run_all(wants)


class RoundExecutor(Executor):
    """Runs what is submitted in rounds, one after the other, in one thread.

    A lone request begins at once. Else a round waits for as many as were unanswered at one time
    since the last one began, for who was answered tends to come back: so two groups that take turns
    become one. It waits no longer than until none has come for ``wait_s``.

    It is for short requests that block only where they `meet`: what one of them does alone, the
    others of its round wait for.

    Args:
        max_requests: the most that one round holds.
        wait_s: how long a round waits for the next request.
        name: of the thread.
    """

    def __init__(self, *, max_requests: int, wait_s: float, name: str) -> None:
        self._max_requests = max_requests
        self._wait_s = wait_s
        self._waiting: deque[_Task[Any]] = deque()
        self._changed = Condition()
        self._is_closed = False
        self._n_open = self._company = 0
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(
        self, fn: Callable[Params, Result], /, *args: Params.args, **kwargs: Params.kwargs
    ) -> Future[Result]:
        """Its result, later.

        Raises:
            RuntimeError: the executor was shut down.
        """
        task = _Task(lambda: fn(*args, **kwargs), self._ended)
        with self._changed:
            if self._is_closed:
                raise RuntimeError("The executor was shut down.")
            self._waiting.append(task)
            self._n_open += 1
            self._company = max(self._company, min(self._n_open, self._max_requests))
            self._changed.notify()
        return task.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; what waits is done, unless it is cancelled."""
        with self._changed:
            self._is_closed = True
            for task in self._waiting if cancel_futures else ():
                task.future.cancel()
            self._changed.notify()
        if wait:
            self._thread.join()

    def _run(self) -> None:
        while tasks := self._gather():
            _run_round([task for task in tasks if task.begin()])

    def _gather(self) -> list[_Task[Any]]:
        """The next round; none when all is done and no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            while self._misses_some() and self._changed.wait(self._wait_s):
                pass
            self._company = min(self._n_open, self._max_requests)
            n_taken = min(len(self._waiting), self._max_requests)
            return [self._waiting.popleft() for _ in range(n_taken)]

    def _ended(self) -> None:
        with self._changed:
            self._n_open -= 1

    def _misses_some(self) -> bool:
        return len(self._waiting) < self._company and not self._is_closed
