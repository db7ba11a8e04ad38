"""A tower that loads on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import Lock
from time import perf_counter
from typing import Any, Generic, TypeVar

from encoder.observer import EncoderObserver
from encoder.towers.base import PluginTower, Prepared, Tower, n_rows_of
from encoder.towers.encoded import Encoded
from encoder.types import Modality

T = TypeVar("T", bound=Tower)


class LazyTower(Generic[T]):
    """A `Tower` that ``load`` makes once, when first needed, whichever thread comes first.

    Thus a text query neither waits for the sound models nor holds them in memory. A load
    that fails raises its error to the caller, and the next caller tries again.
    ``on_load`` is called with the seconds that the load took.
    """

    def __init__(self, load: Callable[[], T]) -> None:
        self.on_load: Callable[[float], None] | None = None
        self._load = load
        self._lock = Lock()
        self._tower: T | None = None

    @property
    def tower(self) -> T:
        """The tower itself, loaded."""
        if self._tower is None:
            with self._lock:
                if self._tower is None:
                    self._tower = self._timed_load()
        return self._tower

    def _timed_load(self) -> T:
        started = perf_counter()
        tower = self._load()
        if self.on_load:
            self.on_load(perf_counter() - started)
        return tower

    @property
    def n_rows(self) -> int:
        return n_rows_of(self.tower)

    def prepare(self, content: Any) -> Prepared:
        return self.tower.prepare(content)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        return self.tower.forward(batch)


def loaded(tower: PluginTower) -> PluginTower:
    """The tower itself, loaded if it was not."""
    return tower.tower if isinstance(tower, LazyTower) else tower


def observe_towers(towers: Iterable[tuple[Modality, Tower]], observer: EncoderObserver) -> None:
    """Report to an observer when these towers load."""
    for modality, tower in towers:
        if isinstance(tower, LazyTower):
            tower.on_load = partial(observer.loaded, modality)
