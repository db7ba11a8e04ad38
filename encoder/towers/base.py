"""The interfaces of towers, and a tower that loads on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import Lock
from time import perf_counter
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.observer import EncoderObserver
from encoder.towers.encoded import Encoded
from encoder.types import Embeddings, Modality

Prepared = NDArray[np.generic]
"""A prepared item. Its first axis is its length: tokens, blocks of sound, or a constant."""


class Tower(Protocol):
    """Turns items of one modality into embeddings of the shared space.

    Both methods are pure: the same content gives the same vector, alone or in any batch.

    An item can have several embeddings, of which the best one counts in a search. Such a tower has
    an attribute ``n_rows``, see `n_rows_of`; the first embedding represents the item where there
    can be only one.
    """

    def prepare(self, content: Any) -> Prepared:
        """Make one item ready (tokenize, resize, take a spectrogram). Safe to call in threads.

        Args:
            content: what `encoder.types.Item` holds for this modality, already validated.
        """
        ...

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        """Embed prepared items of similar length; float32 unit rows, [len(batch), embed_dim].

        With ``n_rows``, [len(batch) * n_rows, embed_dim]: all rows of the first item, and so on.
        """
        ...


class PluginTower(Protocol):
    """What a plug-in may register: a `Tower`, or one that returns bare rows."""

    def prepare(self, content: Any) -> Prepared: ...

    def forward(self, batch: Sequence[Prepared]) -> Encoded | Embeddings:
        """See `Tower.forward`; bare rows mean `Encoded(rows)`."""
        ...


def forward(tower: PluginTower, batch: Sequence[Prepared]) -> Encoded:
    """Run a tower that is not lazy; the rows are as from `Tower.forward`.

    Raises:
        ModelError: the tower returns more or fewer rows than its ``n_rows`` says.
    """
    returned = tower.forward(batch)
    encoded = returned if isinstance(returned, Encoded) else Encoded(returned)
    n_rows = n_rows_of(tower)
    if len(encoded.rows) != len(batch) * n_rows:
        raise ModelError(
            f"{type(tower).__name__}.forward returned {len(encoded.rows)} rows for {len(batch)} "
            f"items of {n_rows} rows.",
            remedy="Have the tower return n_rows rows for each item, item by item.",
        )
    return encoded


def n_rows_of(tower: PluginTower) -> int:
    """How many embeddings an item has."""
    return int(getattr(tower, "n_rows", 1))


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
                    started = perf_counter()
                    self._tower = self._load()
                    if self.on_load:
                        self.on_load(perf_counter() - started)
        return self._tower

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
