"""Read commit rows: by id, by place, or those for which a filter holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from search.filters import Compiled, Filter, compile_filter, matches
from search.store.milvus.link import MilvusLink
from search.store.milvus.rows import MAX_ROWS, MilvusRows
from search.store.schema import ASSETS, LOCATIONS, asset_from_dict, uri_key
from search.types import AssetRow

_ALL = Compiled("", True)


class MilvusAssets:
    """Reads commit rows. Safe to use from threads.

    Args:
        link: the connection.
        rows: of the collections.
    """

    def __init__(self, link: MilvusLink, rows: MilvusRows) -> None:
        self._link = link
        self._rows = rows

    def select(self, filter: Filter | None, limit: int | None, after: str) -> Iterator[str]:
        """See `VectorStore.select`."""
        compiled = self._compiled(filter)
        if filter is None or compiled.exact:
            rows = self._rows.where(ASSETS, compiled.expression, ["asset_id"], limit, after=after)
            return (row["asset_id"] for row in rows)
        rows = self._rows.where(
            ASSETS, compiled.expression, ASSETS.scalars, after=after, at_first=limit or MAX_ROWS
        )
        kept = (row["asset_id"] for row in rows if matches(filter, asset_from_dict(row)))
        return islice(kept, limit)

    def count(self, filter: Filter | None) -> int:
        """See `VectorStore.count`."""
        return self._rows.count(ASSETS, self._compiled(filter).expression)

    def of(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        """See `VectorStore.assets`."""
        rows = self._rows.of(ASSETS, "asset_id", list(dict.fromkeys(asset_ids)))
        return {row["asset_id"]: asset_from_dict(row) for row in rows}

    def at(self, uris: Sequence[str]) -> dict[str, list[AssetRow]]:
        """See `VectorStore.assets_at`."""
        wanted = {uri_key(uri): uri for uri in uris}
        rows = self._rows.of(LOCATIONS, "uri_key", list(wanted))
        links = [(row["uri_key"], row["asset_id"]) for row in rows]
        known = self.of([asset_id for _, asset_id in links])
        found: dict[str, list[AssetRow]] = {}
        for key, asset_id in sorted(links):
            if (row := known.get(asset_id)) and wanted[key] in row.locations:
                found.setdefault(wanted[key], []).append(row)
        return found

    def scan(self, filter: Filter | None) -> Iterator[AssetRow]:
        """See `VectorStore.scan`."""
        self._link.catch_up()
        expression = self._compiled(filter).expression
        for row in map(asset_from_dict, self._rows.where(ASSETS, expression, ASSETS.scalars)):
            if filter is None or matches(filter, row):
                yield row

    def _compiled(self, filter: Filter | None) -> Compiled:
        return compile_filter(filter, infix=self._link.knows_infix) if filter else _ALL
