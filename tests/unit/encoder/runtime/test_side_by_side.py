"""Small inputs run in one thread; several go side by side where that is faster."""

from collections.abc import Mapping
from threading import Barrier, Lock

import numpy as np
import pytest

from encoder.runtime.base import Array, SideBySide, run_all


class Named:
    """Records who ran it, and the first number of its input."""

    def __init__(self, name: str, company: int = 1) -> None:
        self.name = name
        self._met = Barrier(company, timeout=60)
        self._lock = Lock()
        self.sizes: list[int] = []

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        with self._lock:
            self.sizes.append(inputs["input_ids"].size)
        self._met.wait()
        return [np.array([self.name, str(inputs["input_ids"].flat[0])])]


def inputs(*sizes: int) -> list[dict[str, Array]]:
    """Inputs of these sizes that hold their numbers."""
    return [{"input_ids": np.full(size, number)} for number, size in enumerate(sizes)]


@pytest.mark.parametrize(("shape", "name"), [((2, 3), "one"), ((1, 7), "many")])
def test_the_size_of_the_first_input_decides(shape: tuple[int, int], name: str) -> None:
    opened: list[Named] = []

    def many() -> Named:
        opened.append(Named("many"))
        return opened[-1]

    session = SideBySide(Named("one"), many, n_threads=2, small=6)
    for _ in range(2):
        (found,) = session.run({"input_ids": np.zeros(shape), "mask": np.zeros((9, 9))})
        assert found[0] == name
    assert len(opened) == (name == "many")  # once, and not for a short text


def test_several_runs_go_side_by_side_and_come_back_in_order() -> None:
    one = Named("one", company=2)  # neither ends before the other has begun
    found = run_all(SideBySide(one, lambda: Named("many"), n_threads=2), inputs(5, 9, 8, 7))
    assert [list(outputs) for (outputs,) in found] == [["one", str(n)] for n in range(4)]
    assert sorted(one.sizes[:2]) == [8, 9]  # the longest first


@pytest.mark.parametrize(
    ("sizes", "n_threads", "name"),
    [
        ((9,), 2, "many"),  # nothing to go beside
        ((90, 10), 2, "many"),  # a second thread would soon be idle
        ((9, 9), 8, "many"),  # as would six of eight
        ((3, 3), 8, "one"),  # one thread takes each of them anyway
        ((9, 9, 9, 9, 9, 9, 9, 9), 8, "one"),
    ],
)
def test_runs_are_divided_where_that_is_faster(
    sizes: tuple[int, ...], n_threads: int, name: str
) -> None:
    session = SideBySide(Named("one"), lambda: Named("many"), n_threads=n_threads, small=4)
    assert {outputs[0] for (outputs,) in run_all(session, inputs(*sizes))} == {name}


def test_what_a_run_raises_is_raised() -> None:
    class Broken:
        def run(self, inputs: Mapping[str, Array]) -> list[Array]:  # noqa: ARG002
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_all(SideBySide(Broken(), Broken, n_threads=2), inputs(9, 9))
