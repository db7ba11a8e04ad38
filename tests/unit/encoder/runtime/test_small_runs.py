"""Small inputs run in one thread, others in many."""

from collections.abc import Mapping

import numpy as np
import pytest

from encoder.runtime.base import Array
from encoder.runtime.small_runs import SmallRuns


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:  # noqa: ARG002
        return [np.array([self.name])]


@pytest.mark.parametrize(("shape", "name"), [((2, 3), "one"), ((1, 7), "many")])
def test_the_size_of_the_first_input_decides(shape: tuple[int, int], name: str) -> None:
    session = SmallRuns(Named("one"), Named("many"), most=6)
    (found,) = session.run({"input_ids": np.zeros(shape), "mask": np.zeros((9, 9))})
    assert found.tolist() == [name]
