"""A tower that loads on first use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, Generic, TypeVar

from encoder.towers.base import Prepared, Tower
from encoder.types import Embeddings

T = TypeVar("T", bound=Tower)


class LazyTower(Generic[T]):
    """A `Tower` that ``load`` makes once, when first needed, whichever thread comes first.

    So a query by text does not wait for the sound models, nor hold them in memory. A load
    that fails raises its error to the caller and is tried again by the next one.
    """

    def __init__(self, load: Callable[[], T]) -> None:
        self._load = load
        self._lock = Lock()
        self._tower: T | None = None

    @property
    def tower(self) -> T:
        """The tower itself, loaded."""
        if self._tower is None:
            with self._lock:
                if self._tower is None:
                    self._tower = self._load()
        return self._tower

    def prepare(self, content: Any) -> Prepared:
        """See `Tower.prepare`."""
        return self.tower.prepare(content)

    def forward(self, batch: Sequence[Prepared]) -> Embeddings:
        """See `Tower.forward`."""
        return self.tower.forward(batch)
