"""The client of Milvus without pandas, until somebody hands it a data frame.

The client imports pandas to recognize data frames, of which this project has none: 60 MB and 0.2
CPU-seconds in each process. Milvus Lite loads it all the same, through pyarrow.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import RLock
from types import ModuleType
from typing import Any

_NAMES = ("pandas", "pandas.api", "pandas.api.types")
_FUNCTIONS = ("infer_dtype", "is_array_like", "is_float", "is_list_like", "is_scalar")
"""What the client takes from the last of these modules; each loads pandas when it is called."""

_lock = RLock()


@contextmanager
def pandas_later() -> Iterator[None]:
    """Give modules that are imported meanwhile stand-ins for pandas, unless it is loaded.

    The stand-ins load pandas when more of them is used than the client uses on import. They leave
    ``sys.modules`` at the end, and whatever imports pandas later gets pandas.
    """
    with _lock:
        if _NAMES[0] in sys.modules:
            yield
            return
        sys.modules.update({name: _StandIn(name) for name in _NAMES})
        try:
            yield
        finally:
            _forget()


def _forget() -> None:
    for name in _NAMES:
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]


def _genuine(module: str, name: str) -> Any:
    with _lock:
        _forget()
        return getattr(import_module(module), name)


class _FrameType(type):
    """Nothing is a data frame before pandas is loaded."""

    def __instancecheck__(cls, value: object) -> bool:
        return "pandas" in sys.modules and isinstance(value, _genuine("pandas", "DataFrame"))


class DataFrame(metaclass=_FrameType):
    """Used in annotations, and where the client checks whether something is a data frame."""


class _StandIn(ModuleType):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []  # a package
        if name == "pandas":
            self.DataFrame = DataFrame
        if name == "pandas.api.types":
            vars(self).update({function: _calls(function) for function in _FUNCTIONS})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):  # the import system looks for these
            raise AttributeError(name)
        return _genuine(self.__name__, name)


def _calls(name: str) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        return _genuine("pandas.api.types", name)(*arguments, **options)

    return call
