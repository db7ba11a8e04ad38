"""Sort assets by a field. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from encoder.errors import InputError
from search.filters.tree import FIELDS, FieldKind
from search.lexical.names import written_names
from search.store.overview import date_of
from search.types import AssetRow

_KINDS = (FieldKind.TEXT, FieldKind.NUMBER, FieldKind.TIME)
_OF_ROW: dict[str, Callable[[AssetRow], object]] = {
    "date": date_of,
    "name": lambda row: written_names(row)[0][0],
    "modality": lambda row: row.modality,
    "media_type": lambda row: row.media_type,
    "size_bytes": lambda row: row.size_bytes,
}
"""What is not in the metadata; ``date`` is when it was taken, or else changed."""
SORTABLE = sorted({*_OF_ROW, *(name for name, kind in FIELDS.items() if kind in _KINDS)})


def check_sort(sort: str) -> None:
    """Check the name of a field, with or without "-" in front."""
    if sort and sort.removeprefix("-") not in SORTABLE:
        expected = f"one of {', '.join(SORTABLE)}, with a leading - for the greatest first"
        raise InputError("query.sort", got=repr(sort), wanted=expected)


def order_of(rows: Sequence[AssetRow], sort: str) -> list[int]:
    """The places of assets by a field, in ascending order; with "-", descending.

    Those without the field come last; ties stay as they are. Case is ignored.
    """
    field = sort.removeprefix("-")
    keys = {index: key for index, row in enumerate(rows) if (key := _key(row, field)) is not None}
    ordered = sorted(keys, key=keys.__getitem__, reverse=sort[:1] == "-")
    return ordered + [index for index in range(len(rows)) if index not in keys]


def _key(row: AssetRow, field: str) -> tuple[bool, float, str] | None:
    value = _OF_ROW[field](row) if field in _OF_ROW else row.metadata.get(field)
    if isinstance(value, str):
        return (True, 0, value.casefold())
    return None if not isinstance(value, int | float) else (False, float(value), "")
