"""Counts of the assets that pass a filter, by values of fields, folders and months. Pure.

`counted` is the reference; `search.overview.in_tables` counts the same in tables.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from search.filters.tree import FIELDS, Kind
from search.overview.dates import date_of
from search.types import AssetRow

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


def counted(rows: Iterable[AssetRow]) -> Facets:
    """Count all of these assets."""
    n_assets = 0
    values: dict[str, Counter[str]] = {field: Counter() for field in FACETS}
    folders: Counter[str] = Counter()
    months: Counter[str] = Counter()
    for row in rows:
        n_assets += 1
        for field in FACETS:
            values[field].update(_values(field, row))
        folders.update(uri[: uri.rfind("/") + 1] for uri in set(row.locations) if "/" in uri)
        if (date := date_of(row)) is not None and EARLIEST <= date <= LATEST:
            months[month_of(date)] += 1
    return Facets(n_assets, values, folders, months)


def month_of(date: int) -> str:
    """The month of a second since 1970, in UTC.

    >>> month_of(1_715_970_600)
    '2024-05'
    """
    day = datetime.fromtimestamp(date, UTC)
    return f"{day.year:04}-{day.month:02}"


def _values(field: str, row: AssetRow) -> set[str]:
    value = str(row.modality) if field == "modality" else row.metadata.get(field)
    if FIELDS[field] is Kind.TEXTS:
        return {one for one in value if isinstance(one, str)} if isinstance(value, list) else set()
    return {value} if isinstance(value, str) else set()


def folders_below(folders: Mapping[str, int], place: str) -> dict[str, int]:
    """The folders right below a place, with the files anywhere in them.

    If all files are in one of them, the folders below that one, and so on.

    Args:
        folders: as in `Facets`.
        place: a URI with a slash at its end; empty for the top.

    >>> folders_below({"/data/a/": 1, "/data/b/c/": 2, "/data/b/": 3}, "")
    {'/data/a/': 1, '/data/b/': 5}
    >>> folders_below({"s3://b/c/": 1, "s3://b/d/": 1, "/e/": 1}, "")
    {'s3://b/': 2, '/': 1}
    """
    inside = {folder: n for folder, n in folders.items() if folder.startswith(place)}
    while True:
        below: Counter[str] = Counter()
        for folder, n in inside.items():
            end = folder.find("/", max(len(place), _after_scheme(folder)))
            below[folder[: end + 1] if end >= 0 else place] += n
        is_alone = len(below) == 1 and place not in below
        if not is_alone:
            below.pop(place, None)
            return dict(below)
        (place,) = below


def _after_scheme(folder: str) -> int:
    found = _SCHEME.match(folder)
    return found.end() if found else 0


def within_roots(folders: Mapping[str, int], roots: tuple[str, ...]) -> dict[str, int]:
    """The folders within public ones, by their paths within these; see `search.filters.within`."""
    inner: Counter[str] = Counter()
    for folder, n in folders.items():
        for root in roots:
            if folder.startswith(root):
                inner[folder.removeprefix(root)] += n
    return dict(inner)
