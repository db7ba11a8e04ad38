"""Calls that become one: who shares what, and whose error reaches whom."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from encoder.errors import AnymodalError, InputError
from search.batching.coalescing import Together
from search.errors import StoreUnavailableError


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


def run_behind(doubler: Doubler, wanted: Sequence[Sequence[int]]) -> list[object]:
    """Have these calls wait behind a first one, so that they are one batch."""
    together: Together[str, int, str] = Together(doubler, max_items=100)

    def run(items: Sequence[int]) -> object:
        try:
            return list(together("k", items))
        except Exception as error:  # noqa: BLE001 - what is tested
            return error

    with ThreadPoolExecutor(len(wanted) + 1) as pool:
        first = pool.submit(run, [0])
        assert doubler.begun.wait(10)
        others = [pool.submit(run, items) for items in wanted]
        while together.n_waiting("k") < len(wanted):
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
    together: Together[str, int, str] = Together(doubler, max_items=100)
    assert [*together("a", [1]), *together("b", [1])] == ["a2", "b2"]


def refuse_three(error: type[Exception] | AnymodalError) -> Callable[[Sequence[int]], None]:
    def refuse(items: Sequence[int]) -> None:
        if 3 in items:
            raise error

    return refuse


def test_a_refused_item_harms_only_its_own_call() -> None:
    refused = InputError("item", got="3", wanted="another")
    doubler = Doubler(refuse_three(refused))
    assert run_behind(doubler, [[1], [3], [4]]) == [["k2"], refused, ["k8"]]


@pytest.mark.parametrize("error", [StoreUnavailableError("Away."), ZeroDivisionError])
def test_other_errors_reach_all_and_are_not_tried_again(
    error: type[Exception] | AnymodalError,
) -> None:
    doubler = Doubler(refuse_three(error))
    answers = run_behind(doubler, [[1], [3], [4]])
    kind = error if isinstance(error, type) else type(error)
    assert [type(answer) for answer in answers] == [kind] * 3
    assert len(doubler.calls) == 2
