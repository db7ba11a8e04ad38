"""What the collector passes over while a server runs."""

import gc
from weakref import ref

import pytest

from workers.serving.composition import frozen


class Ring:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.slow
def test_what_was_there_before_is_passed_over_and_what_comes_is_not() -> None:
    before = Ring()
    with frozen():
        inside = Ring()
        gone_before, gone_inside = ref(before), ref(inside)
        del before, inside
        gc.collect()
        assert gone_before() is not None
        assert gone_inside() is None
    gc.collect()
    assert gone_before() is None
