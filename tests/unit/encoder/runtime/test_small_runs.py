"""Small inputs run in one thread, others in many; each network is opened when it is needed."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from encoder.runtime.base import Array, Session
from encoder.runtime.small_runs import SmallRuns


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:  # noqa: ARG002
        return [np.array([self.name])]


def opened(log: list[str]) -> SmallRuns:
    def opens(name: str) -> Callable[[], Session]:
        return lambda: (log.append(name), Named(name))[1]

    return SmallRuns(opens("one"), opens("many"), most=6)


@pytest.mark.parametrize(("shape", "name"), [((2, 3), "one"), ((1, 7), "many")])
def test_the_size_of_the_first_input_decides(shape: tuple[int, int], name: str) -> None:
    log: list[str] = []
    session = opened(log)
    for _ in range(2):
        (found,) = session.run({"input_ids": np.zeros(shape), "mask": np.zeros((9, 9))})
        assert found.tolist() == [name]
    assert log == [name]
