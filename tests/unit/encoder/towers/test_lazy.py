"""A lazy tower loads once, whichever thread is first."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from encoder.errors import BundleError
from encoder.towers.base import Encoded, LazyTower, Prepared


class Ones:
    """A tower without a network."""

    def prepare(self, content: str) -> Prepared:
        return np.ones(len(content))

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        return Encoded(np.ones((len(batch), 2), np.float32))


def test_loads_once_for_many_threads() -> None:
    loads: list[int] = []
    barrier = Barrier(8)
    tower = LazyTower(lambda: loads.append(1) or Ones())

    def use(_: int) -> int:
        barrier.wait()
        return len(tower.prepare("abc"))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(use, range(8))) == [3] * 8
    assert loads == [1]
    assert tower.forward([np.ones(1)]).rows.shape == (1, 2)


def test_a_failed_load_is_tried_again() -> None:
    outcomes = iter([BundleError("not yet"), None])

    def load() -> Ones:
        if error := next(outcomes):
            raise error
        return Ones()

    tower = LazyTower(load)
    with pytest.raises(BundleError):
        tower.prepare("x")

    assert len(tower.prepare("xy")) == 2
