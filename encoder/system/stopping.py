"""Long computations ask between two pieces of work whether anybody still waits for the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_check: ContextVar[Callable[[], None] | None] = ContextVar("check", default=None)


@contextmanager
def stopped_by(check: Callable[[], None] | None) -> Iterator[None]:
    """Have computations of this thread call ``check``, which raises to end them; None for none."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def current_check() -> Callable[[], None] | None:
    """What computations of this thread are to call, if anything."""
    return _check.get()
