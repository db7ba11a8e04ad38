"""Ask a store for an overview; the assets of one that cannot count by itself are read."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Protocol, runtime_checkable

from search.filters import Filter
from search.overview import dates
from search.overview.dates import Dated
from search.overview.facets import Facets, counted
from search.store.base import VectorStore

_FEW = 2000
MOST_READ = 100_000
"""The most assets that are read to be counted, even in a larger library."""


@runtime_checkable
class Overviewing(Protocol):
    """A store that counts and orders by itself."""

    def facets(self, filter: Filter | None) -> Facets:
        """Counts of all assets for which a filter holds."""
        ...

    def newest(
        self, filter: Filter | None, limit: int, after: Dated, reverse: bool = False
    ) -> list[Dated]:
        """The newest assets for which a filter holds; see `search.overview.dates.newest`."""
        ...


def facets(store: VectorStore, filter: Filter | None) -> Facets:
    """Counts of the assets for which a filter holds, of `MOST_READ` at most where they are read."""
    if isinstance(store, Overviewing):
        return store.facets(filter)
    rows = store.scan(filter)
    found = counted(islice(rows, MOST_READ))
    return found if next(rows, None) is None else replace(found, complete=False)


def orders_dates(store: VectorStore) -> bool:
    """Whether the newest are found at little cost."""
    return isinstance(store, Overviewing) or store.count() <= _FEW


def newest(
    store: VectorStore, filter: Filter | None, limit: int, after: Dated, reverse: bool = False
) -> list[Dated]:
    """The newest assets for which a filter holds; see `search.overview.dates.newest`."""
    if isinstance(store, Overviewing):
        return store.newest(filter, limit, after, reverse)
    return dates.newest(store.scan(filter), limit, after, reverse)
