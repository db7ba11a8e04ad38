"""The id of the current request, for logs in any thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[str] = ContextVar("request_id", default="")


@contextmanager
def serving(request_id: str) -> Iterator[None]:
    """Serve a request in this block; threads need a copy of the context."""
    token = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(token)


def current_request_id() -> str:
    """The id of the current request; empty without one."""
    return _current.get()
