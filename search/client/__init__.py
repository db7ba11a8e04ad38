"""A typed client of the HTTP API, synchronous and asynchronous.

>>> from search.client import Anymodal, AsyncAnymodal
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.client.asynchronous import AsyncAnymodal
    from search.client.errors import (
        AccessError,
        BadRequestError,
        BusyError,
        MissingError,
        ServerError,
        UnreachableError,
    )
    from search.client.sync import Anymodal

_HOMES = {
    "AccessError": "errors",
    "Anymodal": "sync",
    "AsyncAnymodal": "asynchronous",
    "BadRequestError": "errors",
    "BusyError": "errors",
    "MissingError": "errors",
    "ServerError": "errors",
    "UnreachableError": "errors",
}
__all__ = [
    "AccessError",
    "Anymodal",
    "AsyncAnymodal",
    "BadRequestError",
    "BusyError",
    "MissingError",
    "ServerError",
    "UnreachableError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'search.client' has no attribute {name!r}")
    return getattr(import_module(f"search.client.{_HOMES[name]}"), name)
