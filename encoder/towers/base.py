"""The interface of towers, their results, their observers, and a tower that loads on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from time import perf_counter
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.cost import Shape, dense_flops, sparse_flops
from encoder.dsre.settings import GateSettings
from encoder.errors import ModelError
from encoder.system.resting import Resting
from encoder.types import Embeddings, Modality


@dataclass(frozen=True, eq=False)
class TextStats:
    """What a gate did to texts, one row per text.

    Args:
        tokens: that went in, int64 [n].
        kept: tokens left after each layer's attention, int64 [n, n_layers].
        dense_flops: of the network without a gate, float64 [n].
        flops: of the network as it ran, gate included, float64 [n].
    """

    tokens: NDArray[np.int64]
    kept: NDArray[np.int64]
    dense_flops: NDArray[np.float64]
    flops: NDArray[np.float64]

    @property
    def parts(self) -> tuple[NDArray[Any], ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    @property
    def n_kept(self) -> int:
        """All tokens that are left after the last layer."""
        return int(self.kept[:, -1].sum())

    @property
    def flops_saved(self) -> float:
        """The share of all FLOPs that was saved, 0 to 1."""
        return float(1 - self.flops.sum() / self.dense_flops.sum())

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> TextStats:
        """Some of the rows, in the order given."""
        at = np.asarray(rows, np.int64)
        return TextStats(*(array[at] for array in self.parts))

    def summed(self, starts: Sequence[int] | NDArray[np.int64]) -> TextStats:
        """One row per group of neighbours; ``starts`` are the first rows of the groups."""
        return TextStats(*(np.add.reduceat(array, starts, axis=0) for array in self.parts))

    @classmethod
    def of_gate(
        cls,
        settings: GateSettings,
        shape: Shape,
        n_tokens: NDArray[np.int64],
        n_left: NDArray[np.int64],
    ) -> TextStats:
        """What a gate did to texts of ``n_tokens`` [n], from those left, [n, n_layers].

        In short texts nothing is compared.
        """
        gated = [threshold is not None for threshold in settings.thresholds]
        dense = dense_flops(shape, n_tokens)
        sparse = sparse_flops(shape, n_tokens, n_left, gated=gated)
        flops = np.where(n_tokens < settings.min_tokens, dense, sparse)
        return cls(n_tokens, n_left, dense, flops)

    @classmethod
    def join(cls, several: Sequence[TextStats | None]) -> TextStats | None:
        """All in one; None if there are none, or one is None."""
        present = [stats for stats in several if stats is not None]
        if not present or len(present) < len(several):
            return None
        parts = zip(*(stats.parts for stats in present), strict=True)
        return cls(*(np.concatenate(arrays) for arrays in parts))


@dataclass(frozen=True, eq=False)
class Encoded:
    """What `encoder.towers.base.Tower.forward` returns.

    ``rows`` are float32 unit rows [n, embed_dim], or [n * n_rows, embed_dim]; ``stats`` are there
    for texts if there is a gate.
    """

    rows: Embeddings
    stats: TextStats | None = None


class EncoderObserver(Protocol):
    """Called for each load and each batch, in the thread that did it; it should be quick."""

    def loaded(self, part: str, seconds: float) -> None:
        """A part was loaded: ``model`` as a whole, or the tower of a modality on its first use."""

    def encoded(self, modality: str, lengths: Sequence[int], kept: int) -> None:
        """A batch ran; ``lengths`` are its items' lengths without padding (for text, in tokens).

        ``kept`` is how much of them was left after the last layer: all, but for merged tokens.
        """


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
        """Make an item's content ready (tokenize, resize, take a spectrogram), in any thread."""

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        """Embed prepared items of similar length; float32 unit rows, [len(batch), embed_dim].

        With ``n_rows``, [len(batch) * n_rows, embed_dim]: all rows of the first item, and so on.
        """


class PluginTower(Protocol):
    """What a plug-in may register: a `Tower`, or one that returns bare rows."""

    def prepare(self, content: Any) -> Prepared: ...

    def forward(self, batch: Sequence[Prepared]) -> Encoded | Embeddings:
        """See `Tower.forward`; bare rows mean `Encoded(rows)`."""


def forward(tower: PluginTower, batch: Sequence[Prepared]) -> Encoded:
    """Run a tower that is not lazy; the rows are as from `Tower.forward`.

    Raises a ModelError if the tower returns more or fewer rows than its ``n_rows`` says.
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


class LazyTower(Resting[T]):
    """A `Tower` that ``load`` makes when it is needed; see `Resting`.

    Thus a text query neither waits for the sound models nor holds them in memory. ``on_load`` is
    called with the seconds that a load took.
    """

    def __init__(self, load: Callable[[], T]) -> None:
        super().__init__(load)
        self.on_load: Callable[[float], None] | None = None

    def _loaded(self) -> T:
        started = perf_counter()
        tower = super()._loaded()
        if self.on_load:
            self.on_load(perf_counter() - started)
        return tower

    @property
    def tower(self) -> T:
        """The tower itself, loaded."""
        return self.get()

    @property
    def n_rows(self) -> int:
        return n_rows_of(self.tower)

    def prepare(self, content: Any) -> Prepared:
        return self.tower.prepare(content)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        return self.tower.forward(batch)


class QueryTower(LazyTower[Tower]):
    """The tower for queries of another, which loads and rests with that one."""

    def __init__(self, of: LazyTower[Any]) -> None:
        super().__init__(lambda: getattr(of.tower, "query", None) or of.tower)

    @property
    def tower(self) -> Tower:
        return self._load()


def loaded(tower: PluginTower) -> PluginTower:
    """The tower itself, loaded if it was not."""
    return tower.tower if isinstance(tower, LazyTower) else tower


def observe_towers(towers: Iterable[tuple[Modality, Tower]], observer: EncoderObserver) -> None:
    """Report to an observer when these towers load."""
    for modality, tower in towers:
        if isinstance(tower, LazyTower):
            tower.on_load = partial(observer.loaded, modality)
