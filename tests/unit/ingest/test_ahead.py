import threading
from collections.abc import Iterator

import pytest

from ingest.kinds.film import ahead


def test_an_error_is_raised_after_the_values_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    values = ahead(failing(), 3)
    assert next(values) == 1
    with pytest.raises(ValueError, match="broken"):
        next(values)


def test_it_stays_within_its_depth() -> None:
    made: list[int] = []
    full = threading.Event()

    def count() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            if i == 4:  # one was taken, three wait, one is held
                full.set()
            yield i

    values = ahead(count(), 3)
    assert next(values) == 0
    assert full.wait(60)
    values.close()
    assert made == [0, 1, 2, 3, 4]
