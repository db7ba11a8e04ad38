"""A cache bounded in bytes, from which the least recently used values are evicted first."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

V = TypeVar("V")


class ByteCache(Generic[V]):
    """Keeps values by key. Safe to use from threads.

    Args:
        max_bytes: the most that all values together may take; 0 keeps nothing.
        size: the bytes of one value.
    """

    def __init__(self, max_bytes: int, size: Callable[[V], int]) -> None:
        self._values: LRUCache[Hashable, V] = LRUCache(max_bytes, size)
        self.size = size
        self.max_bytes = max_bytes
        self._lock = Lock()
        self.hits = 0
        self.misses = 0

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """The value of a key, made now if it is not cached."""
        value = self.find(key)
        return self.keep(key, make()) if value is None else value

    def find(self, key: Hashable) -> V | None:
        """The value of a key, if it is cached."""
        with self._lock:
            value = self._values.get(key)
            self.hits += value is not None
            self.misses += value is None
            return value

    def keep(self, key: Hashable, value: V) -> V:
        """Cache a value, unless it is larger than the whole cache; return the value."""
        if self.size(value) <= self.max_bytes:
            with self._lock:
                self._values[key] = value
        return value
