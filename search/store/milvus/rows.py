"""Rows of Milvus's collections, in calls of a size that Milvus accepts, and their partitions.

There is one partition for each modality and row; a search scans only its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Collection as Ids
from itertools import count, takewhile
from operator import itemgetter
from typing import Any, TypeVar

from encoder.system.batched import in_batches
from encoder.types import Modality
from search.errors import StoreError, StoreUnavailableError
from search.filters.milvus import among, beyond
from search.store.milvus.link import MilvusLink
from search.store.milvus.setup import make_ready
from search.store.schema import Collection, collection_name, stored_collections
from search.store.several import is_of_first_rows, partition_of

T = TypeVar("T")
Rows = list[dict[str, Any]]

_ROWS_PER_CALL = 500
_IDS_PER_CALL = 200
MAX_ROWS = 16_384  # that Milvus returns for one query
_WIDE_ROWS_PER_PAGE = 4096
"""For rows with many fields: an answer of 100 MB is refused."""
_NARROW = 3
_GROWTH = 4
_IDS_PER_SEARCH = 2000


class MilvusRows:
    """Reads and writes the rows of one store. Safe to use from threads.

    Args:
        link: to its server.
        prefix: begins the collections' names.
        index: that of vectors, where it is missing.
        check: called before each change, raises if somebody else writes
            (`search.store.milvus.notes`).
    """

    def __init__(
        self, link: MilvusLink, prefix: str, index: str, check: Callable[[], object] = bool
    ) -> None:
        self.link = link
        self._prefix = prefix
        self._index = index
        self._check = check
        self._partitions: dict[str, Partitions] = {}
        self._ready: set[str] = set()

    def name(self, collection: Collection) -> str:
        return collection_name(self._prefix, collection)

    def partitions(self, segments: Collection) -> Partitions:
        name = self.name(segments)
        return self._partitions.setdefault(name, Partitions(self.link, name))

    def forget_partitions(self) -> None:
        """Look again at the next call, since others may have written."""
        for partitions in list(self._partitions.values()):
            partitions.forget()

    def segments_of_all(self) -> list[Collection]:
        """The segments of all spaces that are stored, whoever made them."""
        return [each for each in self.of_all_spaces() if each.kind == "segments"]

    def of_all_spaces(self) -> list[Collection]:
        """The segments and the words of all spaces that are stored."""
        present = stored_collections(self.link.call("list_collections"), self._prefix)
        stored = {name: collection for name, collection in present.items() if collection.space}
        make_ready(self.link, {n: stored[n] for n in stored.keys() - self._ready}, self._index)
        self._ready = set(stored)
        return list(stored.values())

    def drop(self, collection: Collection) -> None:
        """Remove a collection with all rows."""
        self.link.call("drop_collection", self.name(collection))
        self._partitions.pop(self.name(collection), None)

    def read(self, method: str, collection: Collection, **options: Any) -> Any:
        """Call a reading method of Milvus; see `MilvusLink.freshness`."""
        return self.link.call(method, self.name(collection), **options, **self.link.freshness())

    def upsert(
        self, collection: Collection, rows: Sequence[dict[str, Any]], **options: str
    ) -> None:
        """Write rows; each replaces the one with its key. Raises unless all are acknowledged."""
        for chunk in in_batches(rows, _ROWS_PER_CALL):
            self._check()
            answer = self.link.call("upsert", self.name(collection), list(chunk), **options)
            n_rows = answer["upsert_count"]
            if n_rows != len(chunk):
                raise StoreError(
                    f"The store {self.link.shown} acknowledged {n_rows} of "
                    f"{len(chunk)} rows of {self.name(collection)}.",
                    remedy="Run the ingest again; rows that were not acknowledged do not count.",
                )

    def insert(
        self, collection: Collection, rows: Sequence[dict[str, Any]], **options: str
    ) -> None:
        """Write rows whose keys are certainly not stored: an upsert would also write deletes.

        If a call fails, an upsert of the same rows replaces what it may have left.
        """
        for chunk in in_batches(rows, _ROWS_PER_CALL):
            self._check()
            try:
                # Once: pymilvus would repeat an insert of which only the answer was lost.
                self.link.call(
                    "insert", self.name(collection), list(chunk), retry_times=1, **options
                )
            except StoreUnavailableError:
                self.upsert(collection, chunk, **options)

    def delete(
        self, collection: Collection, field: str, values: Sequence[str], expression: str = ""
    ) -> None:
        """Remove all rows whose ``field`` has one of these values; unknown ones are ignored.

        An expression must hold for them too, if there is one: with the name of a partition, Lite
        removes those in others as well.
        """
        for some in in_batches(list(dict.fromkeys(values)), _IDS_PER_CALL):
            self._check()
            where = " and ".join(filter(None, [among(field, some), expression]))
            self.link.call("delete", self.name(collection), filter=where)

    def of(
        self,
        collection: Collection,
        field: str,
        values: Sequence[str],
        columns: Sequence[str] | None = None,
        expression: str = "",
        *,
        at_once: int = _IDS_PER_CALL,
    ) -> list[dict[str, Any]]:
        """The rows whose ``field`` has one of these values, with the fields that are wanted.

        An expression must hold for them too, if there is one. A call asks for ``at_once`` values.
        """
        fields = list(dict.fromkeys([field, *(columns or collection.scalars)]))
        rows: Rows = []
        for chunk in in_batches(list(dict.fromkeys(values)), at_once):
            rows += self.read(
                "query",
                collection,
                filter=" and ".join(filter(None, [among(field, chunk), expression])),
                output_fields=fields,
            )
        return rows

    def count(
        self, collection: Collection, expression: str = "", partitions: Sequence[str] = ()
    ) -> int:
        """How many rows there are, in some partitions or in all, for which an expression holds."""
        parts = list(partitions) or None
        # Lite's own count ignores partitions, and with an expression reads whole rows.
        is_listed = self.link.is_lite and bool(expression or parts)
        rows = self.read(
            "query",
            collection,
            filter=expression or (f'{collection.key} != ""' if is_listed else ""),
            partition_names=parts,
            output_fields=[collection.key if is_listed else "count(*)"],
        )
        return len(rows) if is_listed else int(rows[0]["count(*)"])

    def where(
        self,
        collection: Collection,
        expression: str,
        fields: Sequence[str],
        limit: int | None = None,
        *,
        after: str = "",
        partition: str = "",
        at_first: int = MAX_ROWS,
    ) -> Iterator[dict[str, Any]]:
        """All rows for which an expression holds, in the order of their keys.

        They are read page by page, each from the last key on: Milvus's own iterator waits for the
        server's next time tick in every page of 1,000 rows.

        Args:
            expression: in Milvus's language; empty for all rows.
            fields: those that are wanted; the key is added.
            after: only keys beyond this one.
            at_first: the rows of the first page, where few are likely to be read; later ones grow.
        """
        page_limit = MAX_ROWS if len(fields) <= _NARROW else _WIDE_ROWS_PER_PAGE
        n_left, size = limit, at_first
        # What an iterator of pymilvus asks for: the least keys.
        ordered = {} if self.link.orders_pages else {"iterator": "True"}
        while n_left is None or n_left > 0:
            size = min(size, page_limit)
            n_asked = size if n_left is None else min(size, n_left)
            parts = [expression and f"({expression})", after and beyond(collection.key, after)]
            page: Rows = self.read(
                "query",
                collection,
                filter=" and ".join(filter(None, parts)),
                partition_names=[partition] if partition else None,
                limit=n_asked,
                output_fields=list(dict.fromkeys([collection.key, *fields])),
                **ordered,
            )
            page.sort(key=itemgetter(collection.key))
            yield from page
            if not page or (len(page) < n_asked and self.link.fills_pages):
                return
            after, size = page[-1][collection.key], _GROWTH * size
            n_left = None if n_left is None else n_left - len(page)


def among_assets(asset_ids: Ids[str] | None) -> Iterator[str]:
    """Expressions that together select these assets; long lists would not fit into one call."""
    if asset_ids is None:
        yield ""
        return
    for chunk in in_batches(sorted(set(asset_ids)), _IDS_PER_SEARCH):
        yield among("asset_id", chunk)


_LOOK_AGAIN_S = 1.0
_DEFAULT = "_default"  # Milvus's default, which stays empty


class Partitions:
    """The partitions of a collection. Safe to use from threads."""

    def __init__(self, link: MilvusLink, collection: str) -> None:
        self._link = link
        self._collection = collection
        self._known: set[str] = set()
        self._look_at_s = 0.0

    def _look(self) -> None:
        self._known = set(self._link.call("list_partitions", self._collection))

    def has(self, name: str, *, look: bool) -> bool:
        """Whether a partition exists; another process may have made it.

        Without ``look`` it may go unnoticed for a second: asking costs as much as a search.
        """
        if name not in self._known and (look or time.monotonic() >= self._look_at_s):
            self._look()
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

    def modalities(self) -> list[Modality]:
        self._look()
        return sorted(map(Modality, filter(is_of_first_rows, self._known - {_DEFAULT})))

    def forget(self) -> None:
        """Look again at the next call, since others may have written."""
        self._look_at_s = 0.0

    def ensure(self, name: str) -> None:
        """Create a partition that does not exist."""
        if self.has(name, look=True):
            return
        try:
            self._link.call("create_partition", self._collection, name)
        except StoreError:
            # Another process, or another thread, was first.
            if not self.has(name, look=True):
                raise
        self._known.add(name)

    def drop(self, modality: str) -> None:
        """Remove those of a modality with all that is in them, row 0 last."""
        for name in reversed(self.of(modality, look=True)):
            if not self._link.is_lite:  # it knows no release of a part
                self._link.call("release_partitions", self._collection, [name])
            self._link.call("drop_partition", self._collection, name)
        self._look()
