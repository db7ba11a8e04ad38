"""Overview of the assets that pass a filter: counts by fields, folders and months; order of dates.

`counted` and `newest_of` are the reference; `search.store.folder.overview` does the same in tables.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from heapq import nlargest, nsmallest
from itertools import islice
from typing import Literal, NamedTuple, TypeAlias

from encoder.errors import InputError
from search.filters.tree import FIELDS, FieldKind
from search.types import AssetRow

UNDATED = -(10**15)
"""Stands for the date of assets without one, which come last."""
_MOST = 10**15


Order: TypeAlias = Literal["date", "arrival"]


class Dated(NamedTuple):
    """An asset by its date, in seconds since 1970; later ones are greater."""

    date: int
    asset_id: str

    @property
    def cursor(self) -> str:
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


def newest_of(
    rows: Iterable[AssetRow], limit: int, after: Dated = FIRST, reverse: bool = False
) -> list[Dated]:
    """The newest of these assets that come after a place in the order; ties by id, Z first.

    ``reverse`` turns the order around, for assets newer than a place, nearest first.
    """
    dates = ((date_of(row), row.asset_id) for row in rows)
    dated = (Dated(UNDATED if date is None else date, asset_id) for date, asset_id in dates)
    if reverse:
        return nsmallest(limit, (dated_asset for dated_asset in dated if dated_asset > after))
    return nlargest(limit, (dated_asset for dated_asset in dated if dated_asset < after))


def dated_of(cursor: str) -> Dated:
    """Read a `Dated.cursor`; empty for `FIRST`. Without an id: assets older than that second.

    >>> dated_of("1715970600_")
    Dated(date=1715970600, asset_id='')

    Raises:
        InputError: not such a cursor.
    """
    if not cursor:
        return FIRST
    cursor_match = re.fullmatch(r"(-?\d{1,16})_(.*)", cursor)
    if not cursor_match:
        expected = "a next_cursor, or seconds since 1970 with a _ after them"
        raise InputError("cursor", got=repr(cursor), wanted=expected)
    return Dated(int(cursor_match[1]), cursor_match[2])


FACETS = ("modality", "tags", "country", "city")
"""Fields of filters whose values are counted."""
_SCHEME = re.compile(r"[\w+.-]+://")
EARLIEST, LATEST = -62_135_596_800, 253_402_300_799
"""The seconds of the years 1 to 9999."""


@dataclass(frozen=True)
class Facets:
    """Counts of assets.

    Args:
        assets: how many there are.
        values: by field of `FACETS`, then by value.
        folders: how many files are directly in each folder, by its URI with a slash at the end.
            Content that is stored in two places counts as two files.
        months: by year and month such as ``2026-01``, of `date_of` in UTC.
        complete: whether all assets were counted.
    """

    assets: int
    values: Mapping[str, Mapping[str, int]]
    folders: Mapping[str, int]
    months: Mapping[str, int]
    complete: bool = True


MOST_READ = 100_000
"""The most assets that are read to be counted, even in a larger library."""


def counted(rows: Iterable[AssetRow]) -> Facets:
    n_assets = 0
    values: dict[str, Counter[str]] = {field: Counter() for field in FACETS}
    folders: Counter[str] = Counter()
    months: Counter[str] = Counter()
    for row in rows:
        n_assets += 1
        for field in FACETS:
            values[field].update(_values_of(field, row))
        folders.update(uri[: uri.rfind("/") + 1] for uri in set(row.locations) if "/" in uri)
        if (date := date_of(row)) is not None and EARLIEST <= date <= LATEST:
            months[month_of(date)] += 1
    return Facets(n_assets, values, folders, months)


def counted_first(rows: Iterator[AssetRow]) -> Facets:
    """Counts of the first `MOST_READ` of these."""
    counts = counted(islice(rows, MOST_READ))
    return replace(counts, complete=next(rows, None) is None)


def month_of(date: int) -> str:
    """The month of a second since 1970, in UTC.

    >>> month_of(1_715_970_600)
    '2024-05'
    """
    day = datetime.fromtimestamp(date, UTC)
    return f"{day.year:04}-{day.month:02}"


def _values_of(field: str, row: AssetRow) -> set[str]:
    value = str(row.modality) if field == "modality" else row.metadata.get(field)
    if FIELDS[field] is FieldKind.TEXTS:
        return (
            {text for text in value if isinstance(text, str)} if isinstance(value, list) else set()
        )
    return {value} if isinstance(value, str) else set()


def folders_below(folders: Mapping[str, int], parent: str) -> dict[str, int]:
    """The folders right below a place, with the files anywhere in them.

    If all files are in one of them, the folders below that one, and so on.

    Args:
        folders: as in `Facets`.
        parent: a URI with a slash at its end; empty for the top.

    >>> folders_below({"/data/a/": 1, "/data/b/c/": 2, "/data/b/": 3}, "")
    {'/data/a/': 1, '/data/b/': 5}
    >>> folders_below({"s3://b/c/": 1, "s3://b/d/": 1, "/e/": 1}, "")
    {'s3://b/': 2, '/': 1}
    """
    inside = {folder: n for folder, n in folders.items() if folder.startswith(parent)}
    while True:
        below: Counter[str] = Counter()
        for folder, n in inside.items():
            scheme = _SCHEME.match(folder)
            end = folder.find("/", max(len(parent), scheme.end() if scheme else 0))
            below[folder[: end + 1] if end >= 0 else parent] += n
        is_alone = len(below) == 1 and parent not in below
        if not is_alone:
            below.pop(parent, None)
            return dict(below)
        (parent,) = below


def within_roots(folders: Mapping[str, int], roots: tuple[str, ...]) -> dict[str, int]:
    """The folders within public ones, by their paths within these; see `search.filters.within`."""
    inner: Counter[str] = Counter()
    for folder, n in folders.items():
        for root in roots:
            if folder.startswith(root):
                inner[folder.removeprefix(root)] += n
    return dict(inner)
