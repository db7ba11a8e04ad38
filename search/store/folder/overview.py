"""Counts and order of dates in the tables of `search.store.folder.database`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from search.filters.columns import LISTS, column_of
from search.store.folder.database import Connection
from search.store.overview import EARLIEST, FACETS, LATEST, UNDATED, Dated, Facets, Order

_WANTED = "WITH wanted (no) AS MATERIALIZED (SELECT value FROM json_each(?)) "
_AMONG = " AND no IN wanted"


_DATES = " ".join(
    f"WHEN typeof({name}) IN ('integer', 'real') AND abs({name}) < {-UNDATED} "
    f"THEN CAST({name} AS INTEGER)"
    for name in map(column_of, ("taken", "modified"))
)
_DATE = f"CASE {_DATES} END"
_TEXTS = "SELECT {0} AS value, no FROM asset WHERE typeof({0}) = 'text'"
_OF_FOLDER = "rtrim(uri, replace(uri, '/', ''))"


def facets(db: Connection, nos: Sequence[int] | None) -> Facets:
    """Count the assets of these numbers, which are committed; None: all."""
    month = f"strftime('%Y-%m', {_DATE}, 'unixepoch')"
    dated = f"SELECT {month} AS value, no FROM asset WHERE {_DATE} BETWEEN {EARLIEST} AND {LATEST}"
    lying = f"SELECT {_OF_FOLDER} AS value, no FROM location WHERE instr(uri, '/')"
    (n_assets,) = db.execute("SELECT count(*) FROM asset WHERE row IS NOT NULL").fetchone()
    return Facets(
        int(n_assets) if nos is None else len(nos),
        {
            field: _counts(db, f"SELECT value, no FROM label WHERE field = '{field}'", nos)
            if field in LISTS
            else _counts(db, _TEXTS.format(column_of(field)), nos)
            for field in FACETS
        },
        _counts(db, lying, nos),
        _counts(db, dated, nos),
    )


def _counts(db: Connection, sql: str, nos: Sequence[int] | None) -> dict[str, int]:
    if nos is None:
        counts = db.execute(f"SELECT value, count(*) FROM ({sql}) GROUP BY value")
    else:
        query = f"{_WANTED}SELECT value, count(*) FROM ({sql}{_AMONG}) GROUP BY value"
        counts = db.execute(query, (json.dumps(nos),))
    return dict(counts.fetchall())


def newest(
    db: Connection,
    nos: Sequence[int] | None,
    limit: int,
    after: Dated,
    reverse: bool = False,
    by: Order = "date",
) -> list[Dated]:
    """See `search.store.overview.newest_of`; of the assets of these numbers, None: all.

    Numbers are given in the order of arrival.
    """
    sort_key = "no" if by == "arrival" else f"coalesce({_DATE}, {UNDATED})"
    among = "" if nos is None else _AMONG
    follows, order = (">", "ASC") if reverse else ("<", "DESC")
    sql = (
        f"SELECT {sort_key} AS date, asset_id FROM asset "
        f"WHERE row IS NOT NULL{among} AND (date, asset_id) {follows} (?, ?) "
        f"ORDER BY date {order}, asset_id {order} LIMIT ?"
    )
    values = (after.date, after.asset_id, limit)
    if nos is None:
        dated_rows = db.execute(sql, values)
    else:
        dated_rows = db.execute(_WANTED + sql, (json.dumps(nos), *values))
    return [Dated(*dated_row) for dated_row in dated_rows]
