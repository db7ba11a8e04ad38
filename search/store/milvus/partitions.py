"""One partition for each modality and row; a search scans only its own, its whole cost on Lite."""

from __future__ import annotations

import time
from itertools import count, takewhile

from search.errors import StoreError
from search.store.milvus.link import MilvusLink
from search.store.several import is_of_first_rows, partition_of

_LOOK_AGAIN_S = 1.0
_DEFAULT = "_default"  # Milvus's default, which stays empty


class Partitions:
    """The partitions of a collection. Safe to use from threads; partitions are never dropped.

    Args:
        link: the connection.
        collection: its name.
    """

    def __init__(self, link: MilvusLink, collection: str) -> None:
        self._link = link
        self._collection = collection
        self._known: set[str] = set()
        self._look_at_s = 0.0

    def has(self, name: str, *, look: bool) -> bool:
        """Whether a partition exists; another process may have made it.

        Without ``look`` it may go unnoticed for a second: asking costs as much as a search.
        """
        if name not in self._known and (look or time.monotonic() >= self._look_at_s):
            self._known.update(self._link.call("list_partitions", self._collection))
            self._look_at_s = time.monotonic() + _LOOK_AGAIN_S
        return name in self._known

    def of(self, modality: str, *, look: bool = False) -> list[str]:
        """Those of a modality, row 0 first; none if nothing of it is stored. ``look``: see `has`.

        Writers create those of higher rows first, so that all are known once that of row 0 is.
        """
        if not self.has(modality, look=look):
            return []
        names = (partition_of(modality, row) for row in count())
        return list(takewhile(self._known.__contains__, names))

    def modalities(self) -> list[str]:
        """All that exist now, sorted."""
        self._known.update(self._link.call("list_partitions", self._collection))
        return sorted(filter(is_of_first_rows, self._known - {_DEFAULT}))

    def every(self) -> list[str]:
        """All partitions that exist now, including those of higher rows, sorted."""
        return sorted(set(self._link.call("list_partitions", self._collection)) - {_DEFAULT})

    def forget(self) -> None:
        """Look again at the next call, since others may have written."""
        self._look_at_s = 0.0

    def ensure(self, name: str) -> None:
        """Create a partition that does not exist.

        Raises:
            StoreError: it could not be created.
        """
        if self.has(name, look=True):
            return
        try:
            self._link.call("create_partition", self._collection, name)
        except StoreError:
            # Another process, or another thread, was first.
            if not self.has(name, look=True):
                raise
        self._known.add(name)
