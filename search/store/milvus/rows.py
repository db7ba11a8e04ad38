"""Rows of Milvus's collections, in calls of a size that Milvus accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Collection as Ids
from operator import itemgetter
from typing import Any, TypeVar

from search.errors import StoreError, StoreUnavailableError
from search.filters.expressions import among, beyond
from search.store.milvus.link import MilvusLink
from search.store.segments import Collection

T = TypeVar("T")
Rows = list[dict[str, Any]]
Keys = Mapping[str, Sequence[tuple[str, str]]]
"""The partition and the key of each stored segment, by asset; assets without any are missing."""

_ROWS_PER_CALL = 500
_IDS_PER_CALL = 200
MAX_ROWS = 16_384  # that Milvus returns for one query
_WIDE_ROWS_PER_PAGE = 4096
"""For rows with many fields: an answer of 100 MB is refused."""
_NARROW = 3
_GROWTH = 4
_IDS_PER_SEARCH = 2000


class MilvusRows:
    """Reads and writes rows. Safe to use from threads.

    Args:
        link: the connection.
        names: the collections' names, by kind.
        check: called before each change; raises if somebody else writes, see
            `search.store.milvus.writers`.
    """

    def __init__(
        self, link: MilvusLink, names: Mapping[str, str], check: Callable[[], object] = bool
    ) -> None:
        self._link = link
        self._names = names
        self._check = check

    @property
    def names(self) -> Mapping[str, str]:
        """The collections' names, by kind."""
        return self._names

    def name(self, kind: Collection) -> str:
        """The name of a collection."""
        return self._names[kind.kind]

    def fresh(self) -> dict[str, Any]:
        """Options of a read, see `MilvusLink.freshness`."""
        return self._link.freshness()

    def upsert(self, kind: Collection, rows: Sequence[dict[str, Any]], **options: str) -> None:
        """Write rows; each replaces the one with its key.

        Raises:
            StoreError: not all were acknowledged.
        """
        # In Lite the row written last counts; its upsert first looks for each one, and copies the
        # list of all deletions to do so.
        method = "insert" if self._link.is_lite else "upsert"
        for chunk in chunks(rows, _ROWS_PER_CALL):
            self._check()
            answer = self._link.call(method, self.name(kind), list(chunk), **options)
            n_rows = answer[f"{method}_count"]
            if n_rows != len(chunk):
                raise StoreError(
                    f"The store {self._link.shown} acknowledged {n_rows} of "
                    f"{len(chunk)} rows of {self.name(kind)}.",
                    remedy="Run the ingest again; rows that were not acknowledged do not count.",
                )

    def insert(self, kind: Collection, rows: Sequence[dict[str, Any]], **options: str) -> None:
        """Write rows whose keys are certainly not stored: an upsert would also write deletes.

        If a call fails, an upsert of the same rows replaces what it may have left.
        """
        if self._link.is_lite:
            self.upsert(kind, rows, **options)
            return
        for chunk in chunks(rows, _ROWS_PER_CALL):
            self._check()
            try:
                # Once: pymilvus would repeat an insert of which only the answer was lost.
                self._link.call("insert", self.name(kind), list(chunk), retry_times=1, **options)
            except StoreUnavailableError:
                self.upsert(kind, chunk, **options)

    def flush(self, kind: Collection) -> None:
        """Flush Lite, which searches other rows far more slowly; a server limits flushes."""
        if self._link.is_lite:
            self._link.call("flush", self.name(kind))

    def flush_all(self) -> None:
        """The same for all collections."""
        for name in self._names.values() if self._link.is_lite else ():
            self._link.call("flush", name)

    def delete(self, kinds: Sequence[Collection], asset_ids: Sequence[str]) -> None:
        """Remove all rows of these assets, from one collection after the other."""
        for ids in chunks(list(dict.fromkeys(asset_ids)), _IDS_PER_CALL):
            for kind in kinds:
                self._check()
                self._link.call("delete", self.name(kind), filter=among("asset_id", ids))
                self.flush(kind)

    def remove(self, kind: Collection, keys: Sequence[str], **options: str) -> None:
        """Remove the rows of these keys; unknown ones are ignored.

        For any other deletion, Milvus Lite scans all rows of a collection.
        """
        for some in chunks(keys, _IDS_PER_CALL):
            expression = among(kind.key, some)
            self._check()
            self._link.call("delete", self.name(kind), filter=expression, **options)
        if keys:
            self.flush(kind)

    def of(
        self,
        kind: Collection,
        field: str,
        values: Sequence[str],
        wanted: Sequence[str] | None = None,
        expression: str = "",
        *,
        at_once: int = _IDS_PER_CALL,
    ) -> list[dict[str, Any]]:
        """The rows whose ``field`` has one of these values, with the fields that are wanted.

        An expression must hold for them too, if there is one. A call asks for ``at_once`` values.
        """
        fields = list(dict.fromkeys([field, *(wanted or kind.scalars)]))
        found: Rows = []
        for chunk in chunks(list(dict.fromkeys(values)), at_once):
            found += self._link.call(
                "query",
                self.name(kind),
                filter=" and ".join(filter(None, [among(field, chunk), expression])),
                output_fields=fields,
                **self.fresh(),
            )
        return found

    def count(self, kind: Collection, expression: str = "", partitions: Sequence[str] = ()) -> int:
        """How many rows there are, in some partitions or in all, for which an expression holds."""
        (row,) = self._link.call(
            "query",
            self.name(kind),
            filter=expression,
            partition_names=list(partitions) or None,
            output_fields=["count(*)"],
            **self.fresh(),
        )
        return int(row["count(*)"])

    def where(
        self,
        kind: Collection,
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
            kind: the collection.
            expression: in Milvus's language; empty for all rows.
            fields: those that are wanted; the key is added.
            limit: the most rows.
            after: only keys beyond this one.
            partition: only rows of this one.
            at_first: the rows of the first page, where few are likely to be read; later ones grow.
        """
        most = MAX_ROWS if len(fields) <= _NARROW else _WIDE_ROWS_PER_PAGE
        left, size = limit, at_first
        while left is None or left > 0:
            size = min(size, most)
            asked = size if left is None else min(size, left)
            page = self._page(kind, expression, fields, asked, after, partition)
            yield from page
            if not page or (len(page) < asked and self._link.fills_pages):
                return
            after, size = page[-1][kind.key], _GROWTH * size
            left = None if left is None else left - len(page)

    def _page(
        self,
        kind: Collection,
        expression: str,
        fields: Sequence[str],
        limit: int,
        after: str,
        partition: str,
    ) -> Rows:
        """The rows with the least keys beyond ``after``, in their order."""
        parts = [expression and f"({expression})", after and beyond(kind.key, after)]
        # What an iterator of pymilvus asks for: the least keys.
        ordered = {} if self._link.orders_pages else {"iterator": "True"}
        rows: Rows = self._link.call(
            "query",
            self.name(kind),
            filter=" and ".join(filter(None, parts)),
            partition_names=[partition] if partition else None,
            limit=limit,
            output_fields=list(dict.fromkeys([kind.key, *fields])),
            **ordered,
            **self.fresh(),
        )
        return sorted(rows, key=itemgetter(kind.key))


def chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The values in parts of this size."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def among_assets(asset_ids: Ids[str] | None) -> Iterator[str]:
    """Expressions that together select these assets; long lists would not fit into one call."""
    if asset_ids is None:
        yield ""
        return
    for chunk in chunks(sorted(set(asset_ids)), _IDS_PER_SEARCH):
        yield among("asset_id", chunk)
