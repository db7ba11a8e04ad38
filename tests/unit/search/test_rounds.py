"""Requests side by side in one thread: what they do together, and what stays their own."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from threading import Event, get_ident

import pytest

from encoder.errors import InputError
from search.batching.coalescing import Together
from search.batching.greenlet_rounds import RoundExecutor, meet


class Adder:
    """Adds one; remembers what it was asked together. Refuses 99."""

    def __init__(self, max_items: int = 100) -> None:
        self.calls: list[list[int]] = []
        self.together: Together[str, int, int] = Together(self._add, max_items=max_items)

    def __call__(self, *numbers: int, key: str = "") -> list[int]:
        return list(self.together(key, numbers))

    def _add(self, _: str, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        if 99 in numbers:
            raise InputError("number", got="99", wanted="another")
        return [number + 1 for number in numbers]


@pytest.fixture
def executor() -> Iterator[RoundExecutor]:
    executor = RoundExecutor(max_requests=8, wait_s=60.0, name="rounds")
    yield executor
    executor.shutdown()


def in_one_round(executor: RoundExecutor, works: Sequence[Callable[[], object]]) -> list[Future]:  # type: ignore[type-arg]
    """Have them wait behind a request that is at work; who made that comes back."""
    begun, gate = Event(), Event()
    first = executor.submit(lambda: (begun.set(), gate.wait(30)))
    assert begun.wait(30)
    futures = [executor.submit(work) for work in works]
    gate.set()
    assert first.result(30)
    executor.submit(lambda: None)
    return futures


def test_what_a_round_wants_at_the_same_time_is_done_at_once(executor: RoundExecutor) -> None:
    add = Adder()
    works = [lambda n=n: add(*add(n)) for n in (1, 5, 9)]
    found = in_one_round(executor, works)
    assert [future.result(30) for future in found] == [[3], [7], [11]]
    assert add.calls == [[1, 5, 9], [2, 6, 10]]


def test_requests_that_differ_go_their_own_ways(executor: RoundExecutor) -> None:
    add, other = Adder(), Adder()
    found = in_one_round(
        executor,
        [
            lambda: "nothing",
            lambda: add(1),
            lambda: other(*add(2)),
            lambda: other(7),
            lambda: add(8, key="b"),
        ],
    )
    assert [future.result(30) for future in found] == ["nothing", [2], [4], [8], [9]]
    assert add.calls == [[1, 2], [8]]
    assert other.calls == [[7], [3]]


def test_a_round_may_hold_more_than_one_call_can_take(executor: RoundExecutor) -> None:
    add = Adder(max_items=2)
    found = in_one_round(executor, [lambda n=n: add(n) for n in range(5)])
    assert [future.result(30) for future in found] == [[n + 1] for n in range(5)]
    assert add.calls == [[0, 1], [2, 3], [4]]


def test_rounds_and_threads_share_what_they_want() -> None:
    executor = RoundExecutor(max_requests=8, wait_s=0.001, name="rounds")
    add = Adder(max_items=3)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(50):
            threads = [pool.submit(add, n) for n in range(8)]
            rounds = [executor.submit(add, n) for n in range(8)]
            assert [one.result(30) for one in threads + rounds] == [[n + 1] for n in range(8)] * 2
    executor.shutdown()


def test_an_error_reaches_its_own_request_only(executor: RoundExecutor) -> None:
    add = Adder()

    def broken() -> None:
        raise ZeroDivisionError

    fine, refused, failed = in_one_round(executor, [lambda: add(1), lambda: add(99), broken])
    assert fine.result(30) == [2]
    assert isinstance(refused.exception(30), InputError)
    assert isinstance(failed.exception(30), ZeroDivisionError)


def test_an_answer_does_not_wait_for_the_rest_of_its_round(executor: RoundExecutor) -> None:
    gate = Event()

    class Slow:
        def run_all(self, wants: Sequence[object]) -> None:
            assert list(wants) == ["slow"]
            gate.wait(30)

    quick, slow = in_one_round(executor, [lambda: "quick", lambda: meet(Slow(), "slow")])
    assert quick.result(30) == "quick"
    assert not slow.done()
    gate.set()
    assert slow.result(30) is None


def test_each_request_keeps_its_context(executor: RoundExecutor) -> None:
    name: ContextVar[str] = ContextVar("name")
    add = Adder()

    def work(own: str) -> tuple[str, str]:
        name.set(own)
        add(1)
        before = name.get()
        add(1)
        return before, name.get()

    works = [lambda own=own: copy_context().run(work, own) for own in "abc"]
    found = [future.result(30) for future in in_one_round(executor, works)]
    assert found == [("a", "a"), ("b", "b"), ("c", "c")]
    assert [len(call) for call in add.calls] == [3, 3]


def test_after_company_the_next_round_waits_for_it(executor: RoundExecutor) -> None:
    add = Adder()
    for future in in_one_round(executor, [lambda: add(1), lambda: add(2)]):
        future.result(30)
    # a minute passes before fewer than the three would go
    again = [executor.submit(add, n) for n in (3, 4, 5)]
    assert [future.result(30) for future in again] == [[4], [5], [6]]
    assert add.calls == [[1, 2], [3, 4, 5]]


def test_groups_that_take_turns_become_one(executor: RoundExecutor) -> None:
    add = Adder()
    begun, gate = Event(), Event()
    first = executor.submit(lambda: (begun.set(), gate.wait(30)))
    assert begun.wait(30)
    waits = executor.submit(add, 1)
    gate.set()
    assert first.result(30)
    returns = executor.submit(add, 2)
    assert [waits.result(30), returns.result(30)] == [[2], [3]]
    assert add.calls == [[1, 2]]


def test_company_that_does_not_come_is_not_waited_for() -> None:
    executor = RoundExecutor(max_requests=8, wait_s=0.001, name="rounds")
    add = Adder()
    for future in in_one_round(executor, [lambda: add(1), lambda: add(2)]):
        future.result(30)
    assert executor.submit(add, 3).result(30) == [4]
    assert add.calls == [[1, 2], [3]]
    executor.shutdown()


def test_a_round_has_its_limit(executor: RoundExecutor) -> None:
    add = Adder()
    found = in_one_round(executor, [lambda n=n: add(n) for n in range(16)])
    assert [future.result(30) for future in found] == [[n + 1] for n in range(16)]
    assert add.calls == [list(range(8)), list(range(8, 16))]


def test_all_is_done_in_one_thread(executor: RoundExecutor) -> None:
    threads = {executor.submit(get_ident).result(30) for _ in range(5)}
    assert len(threads) == 1
    assert get_ident() not in threads


def test_what_was_cancelled_is_not_begun(executor: RoundExecutor) -> None:
    began: list[int] = []
    begun, gate = Event(), Event()
    first = executor.submit(lambda: (begun.set(), gate.wait(30)))
    assert begun.wait(30)
    dropped, kept = (executor.submit(began.append, n) for n in (1, 2))
    assert dropped.cancel()
    gate.set()
    assert first.result(30)
    executor.submit(lambda: None)
    kept.result(30)
    assert began == [2]


def test_a_shutdown_does_what_waits_or_drops_it() -> None:
    for drops in (False, True):
        executor = RoundExecutor(max_requests=8, wait_s=60.0, name="rounds")
        begun, gate = Event(), Event()
        executor.submit(lambda begun=begun, gate=gate: (begun.set(), gate.wait(30)))
        assert begun.wait(30)
        waiting = executor.submit(lambda: "done")
        executor.shutdown(wait=False, cancel_futures=drops)
        gate.set()
        executor.shutdown()
        if drops:
            with pytest.raises(CancelledError):
                waiting.result(30)
        else:
            assert waiting.result(30) == "done"
        with pytest.raises(RuntimeError):
            executor.submit(lambda: None)
