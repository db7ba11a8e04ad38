"""The interfaces of towers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.towers.encoded import Encoded
from encoder.types import Embeddings

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


@runtime_checkable
class CountingTower(Protocol):
    """A `Tower` that can count what its gate does."""

    def forward_counted(self, batch: Sequence[Prepared]) -> Encoded:
        """`Tower.forward` with ``stats``, if there is a gate. Slower, since it times the gate."""
        ...


def forward(tower: PluginTower, batch: Sequence[Prepared], *, counted: bool = False) -> Encoded:
    """Run a tower of any kind; the rows are as from `Tower.forward`.

    Args:
        tower: not lazy.
        batch: prepared items.
        counted: ask for ``stats``; a tower that cannot count returns none.

    Raises:
        ModelError: the tower returns more or fewer rows than its ``n_rows`` says.
    """
    if counted and isinstance(tower, CountingTower):
        returned: Encoded | Embeddings = tower.forward_counted(batch)
    else:
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
