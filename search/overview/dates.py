"""The date of an asset, and its place in the order of dates. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from heapq import nlargest, nsmallest
from typing import NamedTuple

from encoder.errors import InputError
from search.types import AssetRow

UNDATED = -(10**15)
"""Stands for the date of assets without one, which come last."""
_MOST = 10**15


class Dated(NamedTuple):
    """An asset by its date, in seconds since 1970; later ones are greater."""

    date: int
    asset_id: str

    @property
    def cursor(self) -> str:
        """The cursor that a client sends back."""
        return f"{self.date}_{self.asset_id}"


FIRST = Dated(_MOST, "")
"""Before all in the order of dates, newest first."""
LAST = Dated(UNDATED, "")
"""After all of them."""


def date_of(row: AssetRow) -> int | None:
    """When a picture or film was taken, or else its file last changed; None if unknown."""
    for name in ("taken", "modified"):
        value = row.metadata.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST:
            return int(value)
    return None


def newest(
    rows: Iterable[AssetRow], limit: int, after: Dated = FIRST, reverse: bool = False
) -> list[Dated]:
    """The newest of these assets that come after a place in the order; ties by id, Z first.

    Args:
        rows: the assets.
        limit: the most to return.
        after: a place in the order.
        reverse: reverse the order, for assets newer than a place, nearest first.
    """
    dated = (Dated(_known(date_of(row)), row.asset_id) for row in rows)
    if reverse:
        return nsmallest(limit, (one for one in dated if one > after))
    return nlargest(limit, (one for one in dated if one < after))


def _known(date: int | None) -> int:
    return UNDATED if date is None else date


def dated_of(cursor: str) -> Dated:
    """Read a `Dated.cursor`; empty for `FIRST`. Without an id: assets older than that second.

    >>> dated_of("1715970600_")
    Dated(date=1715970600, asset_id='')

    Raises:
        InputError: not such a cursor.
    """
    if not cursor:
        return FIRST
    found = re.fullmatch(r"(-?\d{1,16})_(.*)", cursor)
    if not found:
        wanted = "a next_cursor, or seconds since 1970 with a _ after them"
        raise InputError("cursor", got=repr(cursor), wanted=wanted)
    return Dated(int(found[1]), found[2])
