"""Calls that become one: who shares what, and whose error reaches whom."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from encoder.errors import InputError
from encoder.system.batched import Batched
from encoder.system.stopping import stopped_by
from search.errors import CancelledError, StoreUnavailableError


class Doubler:
    """Doubles numbers when ``gate`` is open; ``refuse`` may raise."""

    def __init__(self, refuse: Callable[[Sequence[int]], None] = lambda _: None) -> None:
        self.calls: list[list[int]] = []
        self.gate, self.begun = Event(), Event()
        self._refuse = refuse

    def __call__(self, key: str, items: Sequence[int]) -> list[str]:
        self.calls.append(list(items))
        self.begun.set()
        self.gate.wait()
        self._refuse(items)
        return [f"{key}{2 * item}" for item in items]


def run_behind(
    doubler: Doubler, wanted: Sequence[Sequence[int]], max_items: int = 100
) -> list[object]:
    """Have these calls wait behind a first one, so that they are one batch."""
    batched: Batched[str, int, str] = Batched(doubler, max_items=lambda _: max_items)

    def run(items: Sequence[int]) -> object:
        try:
            return list(batched("k", items))
        except Exception as error:  # noqa: BLE001 - what is tested
            return error

    with ThreadPoolExecutor(len(wanted) + 1) as pool:
        first = pool.submit(run, [0])
        assert doubler.begun.wait(60)
        others = [pool.submit(run, items) for items in wanted]
        while batched.n_waiting("k") < len(wanted):
            Event().wait(0.001)
        doubler.gate.set()
        assert first.result() == ["k0"]
        return [other.result() for other in others]


def test_those_who_wait_are_done_together_and_get_their_own() -> None:
    doubler = Doubler()
    assert run_behind(doubler, [[1], [], [2, 3]]) == [["k2"], [], ["k4", "k6"]]
    assert sorted(map(len, doubler.calls)) == [1, 3]


def test_keys_are_apart() -> None:
    doubler = Doubler()
    doubler.gate.set()
    batched: Batched[str, int, str] = Batched(doubler, max_items=lambda _: 100)
    assert [*batched("a", [1]), *batched("b", [1])] == ["a2", "b2"]


def test_those_who_left_while_they_waited_cost_nothing() -> None:
    doubler = Doubler()
    batched: Batched[str, int, str] = Batched(doubler, max_items=lambda _: 100)

    def leave() -> None:
        if doubler.gate.is_set():
            raise CancelledError("gone")

    def run(item: int, check: Callable[[], None] | None) -> object:
        with stopped_by(check):
            return list(batched("k", [item]))

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(run, 0, leave)
        assert doubler.begun.wait(60)
        others = [pool.submit(run, item, check) for item, check in ((1, leave), (2, None))]
        while batched.n_waiting("k") < 2:
            Event().wait(0.001)
        doubler.gate.set()
        assert first.result() == ["k0"]
        with pytest.raises(CancelledError):
            others[0].result()
        assert others[1].result() == ["k4"]
    assert doubler.calls == [[0], [2]]


def refuse_three(error: Exception) -> Callable[[Sequence[int]], None]:
    def refuse(items: Sequence[int]) -> None:
        if 3 in items:
            raise error

    return refuse


@pytest.mark.parametrize("refused", [InputError("item", got="3", wanted="1"), ZeroDivisionError()])
def test_a_bad_item_harms_only_its_own_call(refused: Exception) -> None:
    doubler = Doubler(refuse_three(refused))
    assert run_behind(doubler, [[1], [3], [4]]) == [["k2"], refused, ["k8"]]


def test_a_store_that_is_away_is_asked_once_for_all() -> None:
    away = StoreUnavailableError("Away.")
    doubler = Doubler(refuse_three(away))
    assert run_behind(doubler, [[1], [3], [4]]) == [away] * 3
    assert len(doubler.calls) == 2


def test_a_batch_has_a_bound() -> None:
    doubler = Doubler()
    assert run_behind(doubler, [[n] for n in range(1, 8)], max_items=3) == [
        [f"k{2 * n}"] for n in range(1, 8)
    ]
    assert sorted(map(len, doubler.calls)) == [1, 1, 3, 3]


def test_a_call_larger_than_a_batch_is_not_divided() -> None:
    doubler = Doubler()
    assert run_behind(doubler, [[1, 2, 3]], max_items=2) == [["k2", "k4", "k6"]]
    assert doubler.calls == [[0], [1, 2, 3]]


def test_many_threads_all_get_their_own() -> None:
    doubler, start = Doubler(), Barrier(16)
    doubler.gate.set()
    batched: Batched[str, int, str] = Batched(doubler, max_items=lambda _: 8)

    def many(number: int) -> bool:
        start.wait(30)
        return all(list(batched("k", [number])) == [f"k{2 * number}"] for _ in range(50))

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(many, range(16)))
    assert batched.n_waiting("k") == 0
