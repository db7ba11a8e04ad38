"""The id of the request that is being served, for logs, wherever its work is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[str] = ContextVar("request_id", default="")


@contextmanager
def serving(request_id: str) -> Iterator[None]:
    """Say whose request this block serves; threads need a copy of the context."""
    token = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(token)


def current_request_id() -> str:
    """The request's id; empty where none is served."""
    return _current.get()
